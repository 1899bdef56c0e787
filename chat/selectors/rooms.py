"""One's own list of conversations, and what is new in it since a client last asked.

What moved is found without a log and without a window: every change stamps its conversation with
its transaction, and a client gives back, as `at`, the snapshot its last answer was read in.
Whatever that snapshot did not see is new, in whatever order the transactions committed.
"""

import base64
import binascii
import re
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from pydantic import BaseModel, ValidationError

from accounts.errors import NotSignedIn
from accounts.models import User
from accounts.selectors import SESSION_COLUMNS, SESSION_TABLES, session_of
from accounts.tokens import Claims
from chat.models import Assistant, Conversation
from chat.selectors.sync import installation_epoch
from chat.states import assistant_state, conversation_state, person_state
from core.columns import Columns
from core.errors import Invalid, NotFound
from notifications.selectors import newest_notifications
from notifications.states import notification_state
from protocol.limits import FIRST_ROOMS, MAX_COUNTED, MAX_ROOMS, PREVIEW
from protocol.states import (
    AssistantState,
    InboxState,
    MineState,
    NotificationState,
    PersonChanges,
    RoomState,
)

# An `at` of before then may have missed a deletion: the row that tells of one is kept so long.
AT_HOLDS: Final = 90 * 24 * 3600  # seconds
# A snapshot lists what was running; beyond this many only the oldest is named, which sees less.
_MAX_RUNNING: Final = 100
_NEWEST_NOTIFICATIONS: Final = 20
_MOST_ASSISTANTS: Final = 100
_UNPINNED: Final = 2**31
_SNAPSHOT: Final = re.compile(r"[0-9]{1,20}:[0-9]{1,20}:([0-9]{1,20}(,[0-9]{1,20})*)?")

# Of one's unread messages, which were deleted.
_REMOVED = """
ARRAY(
    SELECT d.number FROM chat_message d
    WHERE d.conversation_id = c.id AND d.number > r.read
        AND d.number IS NOT NULL AND d.deleted_at IS NOT NULL
    UNION ALL
    SELECT d.number FROM chat_topic d
    WHERE c.kind = 'forum' AND d.forum_id = c.id AND d.number > r.read AND d.deleted
    ORDER BY 1
)
"""

# Of one's unread messages, the newest that name one, by name or with everyone.
_NAMED = f"""
CASE WHEN c.number <= r.read THEN '{{}}' ELSE ARRAY(
    SELECT n.number FROM chat_mention n
    WHERE n.user_id = r.user_id AND n.conversation_id = c.id AND n.number > r.read
    UNION
    SELECT a.number FROM chat_message a
    WHERE a.conversation_id = c.id AND a.number > r.read AND a.mentions_all
        AND a.author_user_id IS DISTINCT FROM r.user_id
    ORDER BY number DESC LIMIT {MAX_COUNTED}
) END
"""  # noqa: S608 - nothing but a number of ours

# Of a topic or thread that one may read and does not follow there is no row of one's own: nothing
# in it is unread, and `seq` is 0.
_MINE = f"""
c.id, coalesce(r.seq, 0), coalesce(r.read, c.number), c.number, {_REMOVED},
{_NAMED}, c.seq, coalesce(r.level, 'all'), r.muted_until, r.pinned, r.user_id IS NOT NULL
"""
_MINE_COLUMNS: Final = 11
_CONVERSATION = Columns(Conversation, "c")
_ROOMS = f"""
SELECT {_MINE}, m.role,
    coalesce((
        SELECT left(t.content, {PREVIEW}) FROM chat_message t
        WHERE t.conversation_id = c.id AND t.number IS NOT NULL
            AND t.deleted_at IS NULL AND t.content <> ''
            AND t.created_seq > CASE c.history WHEN 'joined' THEN m.joined_seq ELSE 0 END
        ORDER BY t.number DESC LIMIT 1
    ), (
        SELECT t.title FROM chat_topic t
        WHERE c.kind = 'forum' AND t.forum_id = c.id AND NOT t.deleted
        ORDER BY t.pinned DESC, t.created_at DESC LIMIT 1
    ), ''),
    {_CONVERSATION}
FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted(id, place)
JOIN chat_conversation c ON c.id = wanted.id AND c.deleted_at IS NULL
JOIN chat_member m ON m.conversation_id = coalesce(c.access_id, c.id)
    AND m.user_id = %s AND m.left_at IS NULL
LEFT JOIN chat_readstate r
    ON r.conversation_id = c.id AND r.user_id = m.user_id AND NOT r.gone
LEFT JOIN chat_conversation room ON room.id = c.access_id
WHERE (r.user_id IS NOT NULL OR c.access_id IS NOT NULL)
    AND (c.root_seq IS NULL OR room.history <> 'joined' OR m.joined_seq < c.root_seq)
ORDER BY wanted.place
"""  # noqa: S608 - nothing but the names of columns

_MINE_OF = f"""
SELECT r.user_id, {_MINE}
FROM chat_readstate r JOIN chat_conversation c ON c.id = r.conversation_id
WHERE r.user_id = ANY(%s) AND r.conversation_id = ANY(%s) AND NOT r.gone
"""  # noqa: S608

_ASSISTANT = Columns(Assistant, "a")
_ASSISTANTS = f"""
SELECT {_ASSISTANT} FROM chat_assistant a WHERE a.is_active ORDER BY a.created_at, a.id LIMIT %s
"""  # noqa: S608

_GREETINGS = f"""
SELECT s.id, {SESSION_COLUMNS},
    (SELECT epoch FROM chat_installation),
    coalesce((SELECT seq FROM chat_feed WHERE user_id = u.id), 0),
    ARRAY(SELECT conversation_id FROM chat_readstate WHERE user_id = u.id AND NOT gone)
FROM {SESSION_TABLES} WHERE s.id = ANY(%s::uuid[])
"""  # noqa: S608 - nothing but names of columns and tables

_CONVERSATIONS_OF = """
SELECT f.user_id, f.seq, ARRAY(
    SELECT conversation_id FROM chat_readstate r WHERE r.user_id = f.user_id AND NOT gone
)
FROM chat_feed f WHERE f.user_id = ANY(%s)
"""

# In one statement, and so of one snapshot, which it tells as well.
_NEWS = """
WITH mine AS MATERIALIZED (
    SELECT r.conversation_id AS id, r.seq, r.read, c.number, c.active_at, c.touched,
        coalesce(r.pinned, %(unpinned)s) AS pinned,
        r.gone OR c.deleted_at IS NOT NULL AS gone
    FROM chat_readstate r JOIN chat_conversation c ON c.id = r.conversation_id
    -- Of threads that were followed once, only those that are news.
    WHERE r.user_id = %(user)s AND (NOT r.gone OR %(at)s::text IS NOT NULL AND r.seq > %(since)s)
), news AS (
    SELECT * FROM mine
    WHERE %(at)s::text IS NULL OR seq > %(since)s
        OR NOT pg_visible_in_snapshot(touched, %(at)s::text::pg_snapshot)
), page AS (
    SELECT * FROM news
    WHERE NOT gone AND (
        %(after_pinned)s::bigint IS NULL OR pinned > %(after_pinned)s
        OR pinned = %(after_pinned)s AND (active_at, id) < (%(after_active)s, %(after_id)s)
    )
    ORDER BY pinned, active_at DESC, id DESC
    LIMIT %(most)s + 1
)
SELECT
    (SELECT epoch FROM chat_installation),
    coalesce((SELECT seq FROM chat_feed WHERE user_id = %(user)s), 0),
    pg_current_snapshot()::text,
    (SELECT count(*) FROM mine WHERE NOT gone AND number > read),
    (SELECT count(*) FROM mine, LATERAL (
        SELECT n.number FROM chat_mention n
        WHERE n.user_id = %(user)s AND n.conversation_id = mine.id AND n.number > mine.read
        UNION
        SELECT a.number FROM chat_message a
        WHERE a.conversation_id = mine.id AND a.number > mine.read AND a.mentions_all
            AND a.author_user_id IS DISTINCT FROM %(user)s
        LIMIT %(counted)s
    ) AS named WHERE NOT mine.gone AND mine.number > mine.read),
    (SELECT count(*) FROM notifications_notification
     WHERE recipient_id = %(user)s AND NOT is_read),
    CASE WHEN %(after_pinned)s::bigint IS NULL AND (%(at)s::text IS NULL OR EXISTS (
        SELECT FROM chat_block WHERE user_id = %(user)s AND seq > %(since)s
    )) THEN ARRAY(
        SELECT blocked_id FROM chat_block WHERE user_id = %(user)s AND "on"
        ORDER BY created_at, blocked_id
    ) END,
    ARRAY(SELECT id FROM news
          WHERE gone AND %(at)s::text IS NOT NULL AND %(after_pinned)s::bigint IS NULL),
    (SELECT coalesce(json_agg(
        json_build_array(id, pinned, active_at) ORDER BY pinned, active_at DESC, id DESC
    ), '[]') FROM page)
"""


class _Cursor(BaseModel, extra="forbid", strict=True):
    """Where the next page of an answer begins, and what the whole answer is about."""

    since: int | None
    asked_at: str | None
    seq: int
    at: str
    # The last room that was given.
    pinned: int = 0
    active: str = ""
    id: str = ""


class _Page(NamedTuple):
    """What one statement tells of a person's list."""

    most: int  # rooms in one answer; there are more of them if one more was found
    epoch: UUID | None
    seq: int
    snapshot: str
    unread_rooms: int
    mentions: int
    notifications: int
    blocks: list[UUID] | None
    gone: list[UUID]
    rooms: list[tuple[str, int, str]]  # id, pinned, active_at


class Greeting(NamedTuple):
    """What a socket begins with. The conversations are in hex."""

    user: User
    epoch: UUID
    feed: int
    conversations: list[str]


def greetings(claims: Collection[Claims]) -> dict[Claims, Greeting | NotSignedIn]:
    """Read what sockets begin with, of the people that verified tokens name: one statement.

    SessionRevoked or UserInactive is whose token is good for nothing any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(_GREETINGS, [[one.session_id for one in claims]])
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    return {one: _greeting(one, rows.get(one.session_id)) for one in claims}


def _greeting(claims: Claims, row: Sequence[Any] | None) -> Greeting | NotSignedIn:
    try:
        user = session_of(claims, row).user
    except NotSignedIn as error:
        return error
    assert row is not None
    epoch, feed, rooms = row[-3:]
    return Greeting(user, epoch or installation_epoch(), feed, [room.hex for room in rooms])


def conversations_of(people: Sequence[UUID]) -> dict[UUID, tuple[int, list[str]]]:
    """Return how far people's feeds are, and what they are in, in hex, by person."""
    with connection.cursor() as cursor:
        cursor.execute(_CONVERSATIONS_OF, [list(people)])
        return {row[0]: (row[1], [room.hex for room in row[2]]) for row in cursor.fetchall()}


def room_states(person: UUID, conversations: Sequence[UUID]) -> list[RoomState]:
    """Return those of these conversations that a person is in, as they list them, in this order."""
    with connection.cursor() as cursor:
        cursor.execute(_ROOMS, [list(conversations), person])
        return [_room_state(row) for row in cursor.fetchall()]


def room_state(person: UUID, conversation_id: UUID) -> RoomState:
    """Return one of `room_states`. Raises NotFound."""
    found = room_states(person, [conversation_id])
    if not found:
        raise NotFound
    return found[0]


def mine_states(
    people: Sequence[UUID], conversations: Sequence[UUID]
) -> list[tuple[UUID, MineState]]:
    """Return what each of these people sees alone of each of these conversations they are in."""
    with connection.cursor() as cursor:
        cursor.execute(_MINE_OF, [list(people), list(conversations)])
        return [(row[0], _mine_state(row[1:])) for row in cursor.fetchall()]


def person_changes(
    *, user: User, since: int | None = None, at: str | None = None, cursor: str | None = None
) -> PersonChanges:
    """Return what a client lacks that knows its feed up to `since` and its rooms as of `at`.

    Without both it is a first load: pinned rooms, then by activity. Raises Invalid for an `at` or
    a `cursor` that no answer gave.
    """
    place = None if cursor is None else _read_cursor(cursor)
    if place is not None:
        since, at = place.since, place.asked_at
    snapshot = None if since is None or at is None else _snapshot_of(at)
    page = _news(user, since, snapshot, place)
    reset = place is None and since is not None and (snapshot is None or since > page.seq)
    if reset:
        snapshot = None
        page = _news(user, None, None, None)
    first = place is None and snapshot is None
    if place is None:
        place = _Cursor(
            since=since,
            asked_at=at if snapshot else None,
            seq=page.seq,
            at=f"{int(time.time())}.{_coarse(page.snapshot)}",
        )
    complete = len(page.rooms) <= page.most
    rooms = page.rooms[: page.most]
    return PersonChanges(
        epoch=page.epoch or installation_epoch(),
        since=None if reset else since,
        seq=place.seq,
        at=place.at,
        reset=reset,
        complete=complete,
        cursor=None if complete else _write_cursor(place, rooms[-1]),
        user=person_state(user),
        rooms=room_states(user.pk, [UUID(room[0]) for room in rooms]) if rooms else [],
        gone=page.gone,
        unread_rooms=page.unread_rooms,
        mentions=page.mentions,
        notifications=InboxState(
            unread=page.notifications, newest=_newest_notifications(user) if first else []
        ),
        blocks=page.blocks,
        assistants=_assistants() if first else [],
    )


def _news(user: User, since: int | None, snapshot: str | None, place: _Cursor | None) -> _Page:
    most = FIRST_ROOMS if place is None and snapshot is None else MAX_ROOMS
    values: dict[str, Any] = {
        "user": user.pk,
        "since": since or 0,
        "at": snapshot,
        "most": most,
        "counted": MAX_COUNTED,
        "unpinned": _UNPINNED,
        "after_pinned": place.pinned if place else None,
        "after_active": datetime.fromisoformat(place.active) if place else None,
        "after_id": UUID(place.id) if place else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEWS, values)
        return _Page(most, *cursor.fetchone())


def _snapshot_of(at: str) -> str | None:
    """Return the snapshot in an `at`; None if it is too old to be sure of deletions."""
    seconds, _, snapshot = at.partition(".")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 12):
        raise Invalid("This was not given by an answer.", field="at")
    if not _SNAPSHOT.fullmatch(snapshot) or not _ordered(snapshot):
        raise Invalid("This was not given by an answer.", field="at")
    return snapshot if time.time() - int(seconds) < AT_HOLDS else None


def _ordered(snapshot: str) -> bool:
    """Say whether PostgreSQL will read it: xmin ≤ each that was running, rising, < xmax."""
    low, high, running = snapshot.split(":")
    numbers = [int(number) for number in running.split(",")] if running else []
    bounds = [int(low), *numbers, int(high)]
    rising = all(one < other for one, other in pairwise(numbers))
    inside = all(bounds[0] <= number < bounds[-1] for number in numbers)
    return 0 < bounds[0] <= bounds[-1] < 2**63 and rising and inside


def _coarse(snapshot: str) -> str:
    low, _high, running = snapshot.split(":")
    return f"{low}:{low}:" if running.count(",") >= _MAX_RUNNING else snapshot


def _read_cursor(cursor: str) -> _Cursor:
    try:
        place = _Cursor.model_validate_json(base64.urlsafe_b64decode(cursor.encode("ascii")))
        UUID(place.id)
        moment = datetime.fromisoformat(place.active)
    except (ValidationError, ValueError, binascii.Error):
        raise Invalid("This was not given by an answer.", field="cursor") from None
    numbers = (place.since or 0, place.seq, place.pinned)
    if not all(0 <= number < 2**63 for number in numbers) or moment.tzinfo is None:
        raise Invalid("This was not given by an answer.", field="cursor")
    return place


def _write_cursor(place: _Cursor, last: tuple[str, int, str]) -> str:
    next_place = place.model_copy(update={"id": last[0], "pinned": last[1], "active": last[2]})
    return base64.urlsafe_b64encode(next_place.model_dump_json().encode()).decode("ascii")


def _newest_notifications(user: User) -> list[NotificationState]:
    rows = newest_notifications(user.pk, _NEWEST_NOTIFICATIONS)
    return [notification_state(row) for row in rows]


def _assistants() -> list[AssistantState]:
    with connection.cursor() as cursor:
        cursor.execute(_ASSISTANTS, [_MOST_ASSISTANTS])
        return [assistant_state(_ASSISTANT.read(row)) for row in cursor.fetchall()]


def _room_state(row: Sequence[Any]) -> RoomState:
    mine, (role, preview, *columns) = row[:_MINE_COLUMNS], row[_MINE_COLUMNS:]
    conversation = _CONVERSATION.read(columns)
    return RoomState(
        **conversation_state(conversation).model_dump(),
        number=conversation.number,
        people=conversation.people,
        role=role,
        preview=preview,
        mine=_mine_state(mine),
    )


def _mine_state(row: Sequence[Any]) -> MineState:
    (
        conversation,
        seq,
        read,
        number,
        removed,
        named,
        as_of,
        level,
        muted_until,
        pinned,
        follows,
    ) = row
    return MineState(
        conversation=conversation,
        seq=seq,
        read=read,
        number=number,
        removed=removed,
        unread=max(number - read, 0) - len(removed),
        named=named[::-1],
        mentions=len(named),
        as_of=as_of,
        level=level,
        muted_until=muted_until,
        pinned=pinned,
        follows=follows,
    )
