"""Reacting to a message, and counting the reactions and what is said in threads.

A reaction writes its own row and nothing else, so any number may come at once. At most once a
second the rows of a conversation that are not counted yet are, in one change under its lock. So
are the replies in its threads that have moved, for which their own changes ask (`Recount`). That
is done soon after the first of them by a thread of the process that took it, and what that missed,
as when the process died, is found by the worker (`count_missed`).
"""

import json
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.dispatch import receiver
from uuid_utils.compat import uuid7

from accounts.models import User
from chat.change import Change, changing
from chat.errors import Silenced
from chat.models import Conversation
from chat.permissions import require_role
from chat.selectors.tallies import thread_values
from chat.services.topic_rows import moved as topic_moved
from chat.signals import recount_wanted
from core.errors import ChatireError, Conflict, Invalid, NotFound
from core.pacing import Paced
from protocol.errors import ErrorCode
from protocol.limits import FACES, MAX_REACTIONS, VOTE
from protocol.states import OwnTallyState, ReactedState, ReactionState, TallyState

INTERVAL = 1.0  # seconds between two changes of one conversation by reactions
# Messages in one change; a client's answer in parts must be able to hold it.
_AT_ONCE: Final = 40
_NO_THREAD: Final[dict[str, Any]] = {
    "thread": None,
    "replies": 0,
    "replied_at": None,
    "repliers": [],
}
_FIRST_REPLIES: Final = 200  # of a thread, among which those who reply are looked for
# Beyond so many people in one change an event does not say whose reactions they are.
MOST_BY: Final = 50

# The lock is taken by those who bring a new kind, of which there may be so many: the statement
# after it sees every kind there is.
_ASK = """
SELECT m.conversation_id, m.deleted_at IS NOT NULL,
CASE WHEN p.silenced_until > statement_timestamp() THEN p.silenced_until END,
c.kind, p.role, coalesce(room.policy, c.policy),
t.seq, t.reactions, t.thread_id, coalesce(t.replies, 0), t.replied_at, coalesce(t.repliers, '[]'), (
    SELECT jsonb_agg(jsonb_build_array(r.emoji, r.given, r.counted) ORDER BY r.id)
    FROM chat_reaction r WHERE r.message_id = m.id AND r.user_id = %(user)s
),
CASE WHEN %(on)s AND NOT EXISTS (
    SELECT FROM chat_reaction r WHERE r.message_id = m.id AND r.emoji = %(emoji)s AND r.given
) THEN pg_advisory_xact_lock(hashtextextended(m.id::text, 0)) END
FROM chat_message m
JOIN chat_conversation c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN chat_member p ON p.conversation_id = coalesce(c.access_id, c.id)
    AND p.user_id = %(user)s AND p.left_at IS NULL
LEFT JOIN chat_conversation room ON room.id = c.access_id
LEFT JOIN chat_tally t ON t.message_id = m.id
WHERE m.id = %(message)s
    AND (c.root_seq IS NULL OR room.history <> 'joined' OR p.joined_seq < c.root_seq)
    AND (c.history <> 'joined' OR c.access_id IS NOT NULL OR m.created_seq > p.joined_seq)
"""
# Steps from one kind to the next by the index, however many people gave each.
_GIVE = """
WITH RECURSIVE kind AS (
    (
        SELECT emoji FROM chat_reaction
        WHERE message_id = %(message)s AND given ORDER BY emoji LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT r.emoji FROM chat_reaction r
        WHERE r.message_id = %(message)s AND r.given AND r.emoji > kind.emoji
        ORDER BY r.emoji LIMIT 1
    ) FROM kind WHERE kind.emoji IS NOT NULL
), room AS (
    SELECT coalesce(bool_or(emoji = %(emoji)s), FALSE) OR %(emoji)s = 'vote'
        OR count(emoji) FILTER (WHERE emoji <> 'vote') < %(most)s AS is_there
    FROM kind
), given AS (
    INSERT INTO chat_reaction
        (id, conversation_id, message_id, user_id, emoji, given, counted, created_at)
    SELECT %(id)s, %(conversation)s, %(message)s, %(user)s, %(emoji)s, TRUE, FALSE, now()
    FROM room WHERE is_there
    ON CONFLICT (message_id, user_id, emoji) DO UPDATE SET given = TRUE
    WHERE NOT chat_reaction.given
)
SELECT is_there FROM room
"""
_TAKE_BACK = """
UPDATE chat_reaction SET given = FALSE
WHERE message_id = %(message)s AND user_id = %(user)s AND emoji = %(emoji)s AND given
"""

_WAITS = """
SELECT coalesce((
    SELECT %(pause)s - extract(epoch FROM clock_timestamp() - counted_at)::float
    FROM chat_tally WHERE conversation_id = %(conversation)s ORDER BY seq DESC LIMIT 1
), 0)
WHERE EXISTS (
    SELECT FROM chat_reaction
    WHERE conversation_id = %(conversation)s AND (NOT given OR NOT counted)
) OR EXISTS (SELECT FROM chat_recount WHERE conversation_id = %(conversation)s)
"""
_TAKE = """
WITH due AS (
    SELECT DISTINCT message_id FROM chat_reaction
    WHERE conversation_id = %(conversation)s AND (NOT given OR NOT counted)
    LIMIT %(most)s
), fewer AS (
    DELETE FROM chat_reaction r USING due
    WHERE r.message_id = due.message_id AND NOT r.given
    RETURNING r.message_id, r.user_id, r.counted
), more AS (
    UPDATE chat_reaction r SET counted = TRUE FROM due
    WHERE r.message_id = due.message_id AND r.given AND NOT r.counted
    RETURNING r.message_id, r.user_id
)
SELECT message_id, user_id FROM more
UNION SELECT message_id, user_id FROM fewer WHERE counted
"""
# One that a change is about to ask for again is left to that.
_TAKE_THREADS = """
DELETE FROM chat_recount WHERE message_id IN (
    SELECT message_id FROM chat_recount WHERE conversation_id = %(conversation)s
    LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
RETURNING message_id
"""
# Of a long thread not everything is read: what was deleted is few, and who replied is looked for
# among the first replies.
_REPLIES = """
SELECT c.root_id, c.id,
    c.number - (
        SELECT count(*) FROM chat_message m
        WHERE m.conversation_id = c.id AND m.number IS NOT NULL AND m.deleted_at IS NOT NULL
    ),
    (
        SELECT m.created_at FROM chat_message m
        WHERE m.conversation_id = c.id AND m.number IS NOT NULL AND m.deleted_at IS NULL
        ORDER BY m.number DESC LIMIT 1
    ),
    (
        SELECT coalesce(jsonb_agg(
            jsonb_build_object('type', type, 'id', id) ORDER BY place
        ), '[]') FROM (
            SELECT type, id, min(number) AS place FROM (
                SELECT CASE WHEN m.author_user_id IS NULL THEN 'assistant' ELSE 'user' END AS type,
                    coalesce(m.author_user_id, m.author_assistant_id) AS id, m.number
                FROM chat_message m
                WHERE m.conversation_id = c.id AND m.number <= %(first)s AND m.deleted_at IS NULL
            ) AS author WHERE id IS NOT NULL
            GROUP BY type, id ORDER BY place LIMIT %(faces)s
        ) AS replier
    )
FROM chat_conversation c
WHERE c.root_id = ANY(%(messages)s) AND c.deleted_at IS NULL
"""
_RECOUNT = """
SELECT message_id, emoji, count(*), (array_agg(user_id ORDER BY id))[1:%(faces)s]
FROM chat_reaction WHERE message_id = ANY(%(messages)s) AND counted
GROUP BY message_id, emoji ORDER BY message_id, (array_agg(id ORDER BY id))[1]
"""
_OWN = """
SELECT r.message_id, r.user_id, r.emoji FROM chat_reaction r
JOIN unnest(%(messages)s::uuid[], %(users)s::uuid[]) AS who(message_id, user_id)
    ON who.message_id = r.message_id AND who.user_id = r.user_id
WHERE r.counted ORDER BY r.id
"""
_FORGET = """
WITH threads AS (DELETE FROM chat_recount WHERE conversation_id = %(conversation)s)
DELETE FROM chat_reaction WHERE conversation_id = %(conversation)s AND (NOT given OR NOT counted)
"""
_MISSED = """
(SELECT DISTINCT conversation_id FROM chat_reaction WHERE NOT given OR NOT counted LIMIT 100)
UNION (SELECT DISTINCT conversation_id FROM chat_recount LIMIT 100)
"""


class TooManyReactions(ChatireError):
    """A message has as many kinds of reactions as it may."""

    code = ErrorCode.TOO_MANY_REACTIONS
    default_message = "This message has too many different reactions already."


def react(*, user: User, message_id: UUID, emoji: str, on: bool) -> OwnTallyState:
    """Give an emoji to a message, or take it back; doing so twice changes nothing.

    Takes no lock of the conversation. Returns the tally as it is about to be, as far as this
    person's reactions go. Raises NotFound, Silenced, Conflict if the message was deleted,
    TooManyReactions.
    """
    values: dict[str, Any] = {"user": user.pk, "message": message_id, "emoji": emoji, "on": on}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ASK, values)
        found = cursor.fetchone()
        if found is None:
            raise NotFound
        conversation_id, deleted, silenced, kind, role, policy = found[:6]
        seq, counted, *thread, own, _locked = found[6:]
        if emoji == VOTE:
            _require_vote(kind, role, json.loads(policy))
        if on:
            if deleted:
                raise Conflict("This message was deleted.")
            if silenced is not None:
                raise Silenced(until=silenced.isoformat())
            values |= {"id": uuid7(), "conversation": conversation_id, "most": MAX_REACTIONS}
            cursor.execute(_GIVE, values)
            if not cursor.fetchone()[0]:
                raise TooManyReactions(most=MAX_REACTIONS)
        else:
            cursor.execute(_TAKE_BACK, values)
        count_soon(conversation_id)
    tally = TallyState.model_validate(
        {
            "message": message_id,
            "seq": seq or 0,
            "reactions": json.loads(counted or "[]"),
            **thread_values([thread])[0],
        }
    )
    return _expected(tally, user.pk, json.loads(own or "[]"), emoji, on=on)


def count_soon(conversation_id: UUID) -> None:
    """Have what is not counted yet counted, soon after the transaction commits."""
    transaction.on_commit(lambda: _counting.soon(conversation_id), robust=True)


def vote(*, user: User, message_id: UUID, on: bool) -> OwnTallyState:
    """Vote for a topic, by its first message, or for an answer; twice is once.

    As `react`. Raises NotFound, NotAllowed, Invalid outside of a forum's topic, Conflict.
    """
    return react(user=user, message_id=message_id, emoji=VOTE, on=on)


def _require_vote(kind: str, role: str, policy: dict[str, str]) -> None:
    if kind != Conversation.Kind.DISCUSSION:
        raise Invalid("Only topics of a forum, and answers to them, are voted for.")
    require_role("vote", role, Conversation(policy=policy))


def _expected(
    tally: TallyState, user: UUID, own: list[tuple[str, bool, bool]], emoji: str, *, on: bool
) -> OwnTallyState:
    """Return a tally as it will be once this person's reactions are counted."""
    wanted = {name: given for name, given, _counted in own} | {emoji: on}
    present = {name for name, _given, counted in own if counted}
    kinds = {kind.emoji: kind for kind in tally.reactions}
    for name, given in wanted.items():
        if given == (name in present):
            continue
        kind = kinds.get(name) or ReactionState(emoji=name, count=0, users=[])
        users = [one for one in kind.users if one != user]
        if given and len(users) < FACES:
            users.append(user)
        kinds[name] = ReactionState(
            emoji=name, count=kind.count + (1 if given else -1), users=users
        )
    return OwnTallyState(
        **tally.model_dump(exclude={"reactions"}),
        reactions=[kind for kind in kinds.values() if kind.count > 0],
        mine=[name for name, given in wanted.items() if given],
    )


def count_reactions(*, conversation_id: UUID) -> float:
    """Count what is not counted yet, in one change; not within INTERVAL of the last.

    Returns the seconds after which to come again, 0 if everything is counted.
    """
    waits = _waits(conversation_id)
    if waits is None or waits > 0:
        return waits or 0.0
    try:
        with changing(conversation_id) as change:
            # Another process may have counted before this one had the lock.
            waits = _waits(conversation_id)
            if waits is not None and waits <= 0:
                return _count(change)
    except NotFound:
        # Deleted, and purged with its messages, but for what came in that moment.
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, {"conversation": conversation_id})
    return waits or 0.0


def _waits(conversation_id: UUID) -> float | None:
    """How long to wait with counting, or None if there is nothing to count."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITS, {"conversation": conversation_id, "pause": INTERVAL})
        found = cursor.fetchone()
    return None if found is None else float(found[0])


def _count(change: Change) -> float:
    values: dict[str, Any] = {
        "conversation": change.conversation.pk,
        "most": _AT_ONCE,
        "faces": FACES,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        changed = cursor.fetchall()
        cursor.execute(_TAKE_THREADS, values)
        moved = [row[0] for row in cursor.fetchall()]
        reactions: dict[UUID, list[ReactionState]] = {message: [] for message, _user in changed}
        reactions.update((message, []) for message in moved if message not in reactions)
        if not reactions:
            return 0.0
        cursor.execute(_RECOUNT, values | {"messages": list(reactions)})
        for message, emoji, count, users in cursor.fetchall():
            reactions[message].append(ReactionState(emoji=emoji, count=count, users=users))
        cursor.execute(_REPLIES, values | {"messages": list(reactions), "first": _FIRST_REPLIES})
        rows = cursor.fetchall()
        threads = dict(
            zip((row[0] for row in rows), thread_values([row[1:] for row in rows]), strict=True)
        )
        by: list[ReactedState] | None = [] if not changed else None
        if changed and len(changed) <= MOST_BY:
            emojis: dict[tuple[UUID, UUID], list[str]] = {pair: [] for pair in changed}
            messages, users = zip(*changed, strict=True)
            cursor.execute(_OWN, {"messages": list(messages), "users": list(users)})
            for message, user, emoji in cursor.fetchall():
                emojis[message, user].append(emoji)
            by = [
                ReactedState(message=message, user=user, emojis=given)
                for (message, user), given in emojis.items()
            ]
    tallies = [
        TallyState.model_validate(
            {"message": message, "seq": 0, "reactions": kinds, **threads.get(message, _NO_THREAD)}
        )
        for message, kinds in reactions.items()
    ]
    change.tallied(tallies, by)
    topic_moved(change)
    return INTERVAL if max(len(moved), len(reactions)) >= _AT_ONCE else 0.0


def count_missed() -> None:
    """Count what no process has, because it died or the database was away."""
    with connection.cursor() as cursor:
        cursor.execute(_MISSED)
        found = [row[0] for row in cursor.fetchall()]
    for conversation_id in found:
        count_reactions(conversation_id=conversation_id)


def stop() -> None:
    """End the thread that counts; what it leaves is found by `count_missed`."""
    _counting.stop()


_counting = Paced(
    "reactions", lambda conversation_id: count_reactions(conversation_id=conversation_id)
)


@receiver(recount_wanted)
def _count_soon(conversation_id: UUID, **_signal: Any) -> None:
    _counting.soon(conversation_id)
