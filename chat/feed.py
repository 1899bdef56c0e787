"""A person's own counter, which orders what they alone see; see `chat.models.ReadState`.

Whoever holds a conversation's lock may take feeds, never the other way round; several are taken
together, in the order of their people's ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from chat.selectors.rooms import mine_states
from core.publishing import Publication, to_user
from protocol.events import MineUpdated

_TAKE = """
INSERT INTO chat_feed (user_id, seq)
SELECT person, 1 FROM unnest(%s::uuid[]) AS person ORDER BY person
ON CONFLICT (user_id) DO UPDATE SET seq = chat_feed.seq + 1
RETURNING user_id, seq
"""

_BEGIN = """
INSERT INTO chat_readstate (user_id, conversation_id, read, level, gone, seq)
SELECT person, c.id, coalesce(taken.read, c.number), 'all', FALSE, taken.seq
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS taken(person, seq, read),
    chat_conversation c
WHERE c.id = %s
ON CONFLICT (user_id, conversation_id)
DO UPDATE SET read = excluded.read, gone = FALSE, seq = excluded.seq
"""

# With what they followed inside of it: its topics, its threads.
_END = """
UPDATE chat_readstate r SET gone = TRUE, seq = taken.seq
FROM unnest(%(people)s::uuid[], %(seqs)s::bigint[]) AS taken(person, seq)
WHERE r.user_id = taken.person AND NOT r.gone AND (
    r.conversation_id = %(conversation)s OR r.conversation_id IN (
        SELECT id FROM chat_conversation WHERE access_id = %(conversation)s
    )
)
RETURNING r.user_id, r.conversation_id
"""

_NOT_READING = """
SELECT person FROM unnest(%(people)s::uuid[]) AS person WHERE NOT EXISTS (
    SELECT FROM chat_readstate
    WHERE user_id = person AND conversation_id = %(conversation)s AND NOT gone
)
"""

_WROTE = """
UPDATE chat_readstate SET read = %(number)s
WHERE user_id = %(user)s AND conversation_id = %(conversation)s AND read < %(number)s
"""


def take_seqs(people: Iterable[UUID]) -> dict[UUID, int]:
    """Take the next seq of each person's feed, and keep it locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [sorted(set(people))])
        return dict(cursor.fetchall())


def begin_reading(
    conversation: UUID, people: Sequence[UUID], read: Mapping[UUID, int] | None = None
) -> list[Publication]:
    """Give these people a read mark at the conversation's end: nothing before it is unread.

    `read` are the marks of those who begin elsewhere.
    In the conversation's change, once its row is saved. Returns what to tell them.
    """
    seqs = take_seqs(people)
    with connection.cursor() as cursor:
        marks = [(read or {}).get(person) for person in seqs]
        cursor.execute(_BEGIN, [list(seqs), list(seqs.values()), marks, conversation])
    mine = dict(mine_states(people, [conversation]))
    return [
        to_user(person, MineUpdated(seq=seq, mine=[mine[person]], gone=[]))
        for person, seq in seqs.items()
    ]


def end_reading(conversation: UUID, people: Sequence[UUID]) -> list[Publication]:
    """Let these people's views of a conversation they are in no more end. As `begin_reading`."""
    seqs = take_seqs(people)
    gone: dict[UUID, list[UUID]] = {person: [conversation] for person in seqs}
    values: dict[str, Any] = {
        "people": list(seqs),
        "seqs": list(seqs.values()),
        "conversation": conversation,
    }
    with connection.cursor() as cursor:
        cursor.execute(_END, values)
        for person, ended in cursor.fetchall():
            if ended != conversation:
                gone[person].append(ended)
    return [
        to_user(person, MineUpdated(seq=seq, mine=[], gone=gone[person]))
        for person, seq in seqs.items()
    ]


def begin_following(conversation: UUID, read: Mapping[UUID, int]) -> list[Publication]:
    """`begin_reading`, from these marks, for those who do not follow a topic or thread yet."""
    values: dict[str, Any] = {"people": list(read), "conversation": conversation}
    with connection.cursor() as cursor:
        cursor.execute(_NOT_READING, values)
        new = [row[0] for row in cursor.fetchall()]
    return begin_reading(conversation, new, read) if new else []


def wrote(conversation: UUID, person: UUID, number: int) -> None:
    """Move a person's read mark to what they wrote. Their room is touched anyway: no seq."""
    with connection.cursor() as cursor:
        cursor.execute(_WROTE, {"conversation": conversation, "user": person, "number": number})
