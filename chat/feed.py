"""A person's own counter, which orders what they alone see; see `chat.models.ReadState`.

Whoever holds a conversation's lock may take feeds, never the other way round; several are taken
together, in the order of their people's ids.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.functions import Greatest

from chat.models import ReadState
from chat.selectors.rooms import mine_states
from core.publishing import Publication, to_user
from protocol.events import MineUpdated
from protocol.states import MineState

_TAKE = """
INSERT INTO chat_feed (user_id, seq)
SELECT person, 1 FROM unnest(%s::uuid[]) AS person ORDER BY person
ON CONFLICT (user_id) DO UPDATE SET seq = chat_feed.seq + 1
RETURNING user_id, seq
"""

# Who comes back follows the threads again that they may still read.
_BEGIN = """
WITH taken AS (
    SELECT * FROM unnest(%(people)s::uuid[], %(seqs)s::bigint[]) AS taken(person, seq)
), begun AS (
    INSERT INTO chat_readstate (user_id, conversation_id, read, level, gone, seq)
    SELECT person, c.id, c.number, 'all', FALSE, taken.seq
    FROM taken, chat_conversation c
    WHERE c.id = %(conversation)s
    ON CONFLICT (user_id, conversation_id)
    DO UPDATE SET read = excluded.read, gone = FALSE, seq = excluded.seq
)
UPDATE chat_readstate r SET read = c.number, gone = FALSE, seq = taken.seq
FROM taken, chat_conversation c, chat_conversation room
WHERE r.user_id = taken.person AND r.access_id = %(conversation)s AND r.follows AND r.gone
    AND c.id = r.conversation_id AND c.deleted_at IS NULL
    AND room.id = %(conversation)s AND room.history = 'all'
RETURNING r.conversation_id
"""

_END = """
UPDATE chat_readstate r SET gone = TRUE, seq = taken.seq
FROM unnest(%(people)s::uuid[], %(seqs)s::bigint[]) AS taken(person, seq)
WHERE r.user_id = taken.person AND NOT r.gone
    AND %(conversation)s IN (r.conversation_id, r.access_id)
RETURNING r.user_id, r.conversation_id
"""

# Of these people, those who may read a topic or thread and do not follow it.
_NOT_FOLLOWING = """
SELECT m.user_id FROM chat_conversation c
JOIN chat_conversation room ON room.id = c.access_id
JOIN chat_member m ON m.conversation_id = room.id AND m.left_at IS NULL
WHERE c.id = %(conversation)s AND m.user_id = ANY(%(people)s)
    AND (c.root_seq IS NULL OR room.history <> 'joined' OR m.joined_seq < c.root_seq)
    AND NOT EXISTS (
        SELECT FROM chat_readstate r
        WHERE r.user_id = m.user_id AND r.conversation_id = c.id AND NOT r.gone
    )
"""

_FOLLOW = """
INSERT INTO chat_readstate
    (user_id, conversation_id, access_id, read, level, follows, gone, seq)
SELECT taken.person, c.id, c.access_id, least(taken.read, c.number), 'all', TRUE, FALSE, taken.seq
FROM unnest(%(people)s::uuid[], %(seqs)s::bigint[], %(read)s::bigint[])
    AS taken(person, seq, read), chat_conversation c
WHERE c.id = %(conversation)s
ON CONFLICT (user_id, conversation_id)
DO UPDATE SET read = excluded.read, follows = TRUE, gone = FALSE, seq = excluded.seq
"""

_UNFOLLOW = """
UPDATE chat_readstate r SET follows = FALSE, gone = TRUE, seq = ended.seq
FROM unnest(%(people)s::uuid[], %(threads)s::uuid[], %(seqs)s::bigint[])
    AS ended(person, thread, seq)
WHERE r.user_id = ended.person AND r.conversation_id = ended.thread AND r.access_id IS NOT NULL
"""

# Who follows a thread that hangs on what came before they joined.
_UNREADABLE = """
SELECT r.user_id, r.conversation_id FROM chat_conversation c
JOIN chat_readstate r ON r.conversation_id = c.id AND NOT r.gone
JOIN chat_member m ON m.conversation_id = c.access_id AND m.user_id = r.user_id
WHERE c.access_id = %s AND c.root_seq <= m.joined_seq
"""


def take_seqs(people: Iterable[UUID]) -> dict[UUID, int]:
    """Take the next seq of each person's feed, and keep it locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [sorted(set(people))])
        return dict(cursor.fetchall())


def begin_reading(conversation: UUID, people: Sequence[UUID]) -> list[Publication]:
    """Give these people a read mark at the conversation's end: nothing before it is unread.

    In the conversation's change, once its row is saved. Returns what to tell them.
    """
    seqs = take_seqs(people)
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, _values(conversation, seqs))
        threads = {row[0] for row in cursor.fetchall()}
    return _updated(seqs, [conversation, *threads])


def end_reading(conversation: UUID, people: Sequence[UUID]) -> list[Publication]:
    """Let these people's views of a conversation they are in no more end, and of its threads.

    As `begin_reading`.
    """
    seqs = take_seqs(people)
    gone: dict[UUID, list[UUID]] = {person: [conversation] for person in seqs}
    with connection.cursor() as cursor:
        cursor.execute(_END, _values(conversation, seqs))
        for person, ended in cursor.fetchall():
            if ended != conversation:
                gone[person].append(ended)
    return [
        to_user(person, MineUpdated(seq=seq, mine=[], gone=gone[person]))
        for person, seq in seqs.items()
    ]


def follow(thread: UUID, people: Mapping[UUID, int]) -> list[Publication]:
    """Let those of these people follow a thread who may read it and do not yet.

    By person, the number up to which they have read it. Returns what to tell them. Who leaves the
    room at the same time is either kept out here, or out of the thread by `end_reading`.
    """
    new = _not_following(thread, people)
    if not new:
        return []
    seqs = take_seqs(new)
    # Whoever left meanwhile did so with their feed locked.
    still = {person: seq for person, seq in seqs.items() if person in _not_following(thread, new)}
    read = [people[person] for person in still]
    with connection.cursor() as cursor:
        cursor.execute(_FOLLOW, {**_values(thread, still), "read": read})
    return _updated(seqs, [thread])


def end_following(pairs: Collection[tuple[UUID, UUID]]) -> list[Publication]:
    """Let each of these people not hear of that thread any more. Returns what to tell them."""
    seqs = take_seqs(person for person, _thread in pairs)
    values: dict[str, list[Any]] = {
        "people": [person for person, _thread in pairs],
        "threads": [thread for _person, thread in pairs],
        "seqs": [seqs[person] for person, _thread in pairs],
    }
    with connection.cursor() as cursor:
        cursor.execute(_UNFOLLOW, values)
    gone: dict[UUID, list[UUID]] = {person: [] for person in seqs}
    for person, thread in pairs:
        gone[person].append(thread)
    return [
        to_user(person, MineUpdated(seq=seq, mine=[], gone=gone[person]))
        for person, seq in seqs.items()
    ]


def end_unreadable(room: UUID) -> list[Publication]:
    """Let nobody follow a thread of a room that hangs on what came before they joined."""
    with connection.cursor() as cursor:
        cursor.execute(_UNREADABLE, [room])
        return end_following(cursor.fetchall())


def _not_following(thread: UUID, people: Iterable[UUID]) -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_NOT_FOLLOWING, {"conversation": thread, "people": list(people)})
        return {row[0] for row in cursor.fetchall()}


def _values(conversation: UUID, seqs: Mapping[UUID, int]) -> dict[str, Any]:
    return {
        "conversation": conversation,
        "people": list(seqs),
        "seqs": list(seqs.values()),
    }


def _updated(seqs: Mapping[UUID, int], conversations: Sequence[UUID]) -> list[Publication]:
    """Tell people of what they see of these conversations, as far as they are in them."""
    mine: dict[UUID, list[MineState]] = {person: [] for person in seqs}
    for person, state in mine_states(list(seqs), conversations):
        if state.seq == seqs[person]:
            mine[person].append(state)
    return [
        to_user(person, MineUpdated(seq=seq, mine=mine[person], gone=[]))
        for person, seq in seqs.items()
    ]


def move_reading(conversation: UUID, guest: UUID, account: UUID) -> list[Publication]:
    """Let a guest's view of a conversation be their account's, which keeps its own settings.

    Of two read marks the higher one stays. Under the conversation's lock. Returns what to tell.
    """
    own = ReadState.objects.filter(user=guest, conversation=conversation)
    theirs = ReadState.objects.filter(user=account, conversation=conversation)
    moving = own.filter(gone=False).first()
    if moving is None:
        return []
    seqs = take_seqs([guest, account])
    theirs.filter(gone=True).delete()
    if theirs.update(read=Greatest("read", moving.read), seq=seqs[account]):
        own.delete()
    else:
        own.update(user=account, seq=seqs[account])
    mine = [state for _person, state in mine_states([account], [conversation])]
    return [
        to_user(guest, MineUpdated(seq=seqs[guest], mine=[], gone=[conversation])),
        to_user(account, MineUpdated(seq=seqs[account], mine=mine, gone=[])),
    ]
