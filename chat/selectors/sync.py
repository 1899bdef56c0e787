"""What brings a client up to date: the rows after its `seq`, from one consistent read."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from django.db import connection, transaction
from django.db.models import Model
from psycopg import IsolationLevel

from accounts.models import User
from chat.models import Assistant, Conversation, Installation, Member, Message, Topic
from chat.selectors.tallies import tallies_of, tallies_since
from chat.selectors.topics import newest_topics, topics_since
from chat.states import conversation_state, member_state, message_state, topic_state
from core.columns import Columns
from core.errors import NotFound
from protocol import limits
from protocol.states import Changes, Snapshot

_CONVERSATION = Columns(Conversation, "c")
_STANDINGS = f"""
SELECT m.user_id, (SELECT epoch FROM chat_installation),
    EXISTS (
        SELECT FROM chat_message WHERE conversation_id = c.id AND status = 'streaming'
    ),
    CASE WHEN c.access_id IS NULL THEN m.joined_seq ELSE 0 END,
    {_CONVERSATION}
FROM unnest(%s::uuid[], %s::uuid[]) AS asked(conversation_id, user_id)
JOIN chat_conversation c ON c.id = asked.conversation_id AND c.deleted_at IS NULL
JOIN chat_member m ON m.conversation_id = coalesce(c.access_id, c.id)
    AND m.user_id = asked.user_id AND m.left_at IS NULL
LEFT JOIN chat_conversation room ON room.id = c.access_id
WHERE c.root_seq IS NULL OR room.history <> 'joined' OR m.joined_seq < c.root_seq
"""  # noqa: S608 - nothing but the names of columns

_MESSAGE = Columns(Message, "m")
_MEMBER = Columns(Member, "m")
_USER = Columns(User, "u")
_ASSISTANT = Columns(Assistant, "a")
_MESSAGES = f"""
SELECT {_MESSAGE}, {_USER}, {_ASSISTANT}
FROM chat_message m
LEFT JOIN accounts_user u ON u.id = m.author_user_id
LEFT JOIN chat_assistant a ON a.id = m.author_assistant_id
WHERE m.conversation_id = %s AND m.created_seq > %s
"""  # noqa: S608
# Of a large room only who matters to everyone. One who was a manager once is among those that
# have changed since they joined, which a first load need not know of.
_MEMBERS = f"""
SELECT {_MEMBER}, {_USER}, {_ASSISTANT}
FROM chat_member m
LEFT JOIN accounts_user u ON u.id = m.user_id
LEFT JOIN chat_assistant a ON a.id = m.assistant_id
WHERE m.conversation_id = %(conversation)s AND (
    NOT %(large)s OR m.role = ANY(%(managers)s) OR m.assistant_id IS NOT NULL
    OR m.user_id = %(user)s
    OR %(since)s::bigint IS NOT NULL AND m.seq > m.joined_seq AND m.left_at IS NULL
)
"""  # noqa: S608

_SNAPSHOTS = """
SELECT m.id, m.attempt,
       coalesce(max(c.index) + 1, 0),
       coalesce(string_agg(c.text, '' ORDER BY c.index), ''),
       coalesce(string_agg(c.reasoning, '' ORDER BY c.index), '')
FROM chat_message m
LEFT JOIN chat_replychunk c ON c.message_id = m.id AND c.attempt = m.attempt
WHERE m.id = ANY(%s) AND m.status = 'streaming'
GROUP BY m.id, m.attempt
"""


# Stands for an epoch that is yet to be made.
_NOBODYS = UUID(int=0)
M = TypeVar("M", bound=Model)


def installation_epoch() -> UUID:
    """Return the installation's epoch; a client that holds another starts afresh."""
    return Installation.objects.get_or_create(pk=1)[0].epoch


@contextmanager
def consistent_read() -> Iterator[None]:
    """Let every query of the block see the same state of the database, and write nothing."""
    connection.ensure_connection()
    # Said with the BEGIN, it needs no statement of its own.
    begins: psycopg.Connection[Any] = connection.connection
    begins.isolation_level, begins.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with transaction.atomic(durable=True):
            yield
    finally:
        if not begins.closed:
            begins.isolation_level = begins.read_only = None


def changes_since(*, user: User, conversation_id: UUID, since: int | None) -> Changes:
    """Return what a client that knows everything up to `since` lacks (None: a first load).

    Raises NotFound. Not inside a transaction: it needs one of its own.
    """
    if since is not None:
        asked = Asked(user.pk, conversation_id, since)
        nothing = nothing_since([asked])[asked]
        if nothing is not None:
            return nothing
    return some_since(user=user, conversation_id=conversation_id, since=since)


class Asked(NamedTuple):
    """Someone who knows everything of a conversation up to `since`."""

    user_id: UUID
    conversation_id: UUID
    since: int


def nothing_since(asked: Collection[Asked]) -> dict[Asked, Changes | None]:
    """Return the answer for each who lacks nothing, else None; in one statement for all."""
    standings = _standings({(one.user_id, one.conversation_id) for one in asked})
    found = {}
    for one in asked:
        standing = standings.get((one.user_id, one.conversation_id))
        found[one] = None if standing is None else _nothing(standing, one.since)
    return found


def _nothing(standing: "_Standing", since: int) -> Changes | None:
    if since != standing.conversation.seq or standing.streaming or standing.epoch is None:
        return None
    return _changes(standing.epoch, standing, since)


def some_since(*, user: User, conversation_id: UUID, since: int | None) -> Changes:
    """As `changes_since`, which asks first whether there is anything to tell."""
    with consistent_read():
        standing = _standing(user, conversation_id)
        conversation = standing.conversation
        reset = since is not None and since > conversation.seq
        if since is None or reset:
            answer = _first_load(user, standing, since, reset=reset)
        else:
            answer = _later(user, standing, since)
    if standing.epoch is None:
        return answer.model_copy(update={"epoch": installation_epoch()})
    return answer


class _Standing(NamedTuple):
    """A conversation, as somebody who is in it finds it."""

    epoch: UUID | None  # none before anybody asked for it
    streaming: bool
    joined_seq: int
    conversation: Conversation

    @property
    def readable_after(self) -> int:
        """The `created_seq` up to which messages are not for them to read."""
        joined = self.conversation.history == Conversation.History.JOINED
        return self.joined_seq if joined else 0


def _standing(user: User, conversation_id: UUID) -> _Standing:
    """Raises NotFound."""
    asked = (user.pk, conversation_id)
    standings = _standings([asked])
    if asked not in standings:
        raise NotFound
    return standings[asked]


def _standings(asked: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], _Standing]:
    """The standings of people in conversations, without those who are not in them."""
    people = [person for person, _ in asked]
    conversations = [conversation for _, conversation in asked]
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(_STANDINGS, [conversations, people])
        for person, epoch, streaming, joined_seq, *row in cursor.fetchall():
            standing = _Standing(epoch, streaming, joined_seq, _CONVERSATION.read(row))
            found[person, standing.conversation.pk] = standing
    return found


def _changes(epoch: UUID, standing: _Standing, since: int | None, **values: Any) -> Changes:
    """Return an answer with nothing in it but `values`."""
    conversation = standing.conversation
    nothing: dict[str, Any] = {
        "seq": conversation.seq,
        "reset": False,
        "complete": True,
        "messages": [],
        "members": [],
        "tallies": [],
        "topics": [],
        "snapshots": [],
        "more_before": False,
    }
    return Changes(
        epoch=epoch,
        conversation=conversation_state(conversation),
        since=since,
        number=conversation.number,
        readable_after=standing.readable_after,
        joined_seq=standing.joined_seq,
        people=conversation.people,
        **nothing | values,
    )


def _first_load(user: User, standing: _Standing, since: int | None, *, reset: bool) -> Changes:
    conversation = standing.conversation
    newest = _messages(standing, "ORDER BY m.created_seq DESC LIMIT %s", limits.PAGE + 1)
    messages = newest[: limits.PAGE][::-1]
    members = _members(user, conversation, None, "AND m.left_at IS NULL")
    return _changes(
        standing.epoch or _NOBODYS,
        standing,
        since,
        reset=reset,
        messages=[message_state(message) for message in messages],
        members=[member_state(member) for member in members],
        tallies=tallies_of(user, [message.pk for message in messages]),
        topics=[topic_state(topic) for topic in newest_topics(conversation)]
        if conversation.kind == Conversation.Kind.FORUM
        else [],
        snapshots=_snapshots(messages),
        more_before=len(newest) > limits.PAGE,
    )


def _later(user: User, standing: _Standing, since: int) -> Changes:
    conversation, most = standing.conversation, limits.MAX_CHANGES
    changed = "AND m.seq > %s ORDER BY m.seq LIMIT %s"
    messages = _messages(standing, changed, since, most + 1)
    changed = "AND m.seq > %(since)s ORDER BY m.seq LIMIT %(most)s"
    members = _members(user, conversation, since, changed, most=most + 1)
    tallies = tallies_since(
        user, conversation.pk, since, most=most, readable_after=standing.readable_after
    )
    topics: list[Topic] = []
    if conversation.kind == Conversation.Kind.FORUM:
        topics = topics_since(conversation, since, most=most + 1)
    # Where one of the lists is cut, all are cut at the same seq, and the client asks on.
    cut = conversation.seq
    if len(tallies) >= most:
        cut = tallies[-1].seq
    all_rows: tuple[Sequence[Message | Member | Topic], ...] = (messages, members, topics)
    for rows in all_rows:
        if len(rows) > most:
            cut = min(cut, rows[most - 1].seq)
    length = 0
    for message in messages:
        length += len(message.content) + len(message.reasoning)
        if length > limits.MAX_CHANGES_TEXT and message is not messages[0]:
            cut = min(cut, message.seq - 1)
            break
    messages = [message for message in messages if message.seq <= cut]
    streaming: Iterable[Message] = ()
    if standing.streaming:
        # Also replies whose row did not change: their text has grown since.
        streaming = Message.objects.filter(
            conversation=conversation,
            status=Message.Status.STREAMING,
            seq__lte=cut,
            created_seq__gt=standing.readable_after,
        )
    return _changes(
        standing.epoch or _NOBODYS,
        standing,
        since,
        seq=cut,
        complete=cut == conversation.seq,
        messages=[message_state(message) for message in messages],
        members=[member_state(member) for member in members if member.seq <= cut],
        tallies=[tally for tally in tallies if tally.seq <= cut],
        topics=[topic_state(topic) for topic in topics if topic.seq <= cut],
        snapshots=_snapshots(streaming),
    )


def _messages(standing: _Standing, rest: str, *values: int) -> list[Message]:
    """Those of a conversation that may be read, with their authors; `rest` is SQL of ours."""
    given = [standing.conversation.pk, standing.readable_after, *values]
    found = []
    for message, user, assistant in _with_whom(_MESSAGE, _MESSAGES + rest, given):
        message.author_user, message.author_assistant = user, assistant
        found.append(message)
    return found


def _members(
    user: User, conversation: Conversation, since: int | None, rest: str, **values: int
) -> list[Member]:
    """Those that a client is told of by name; `rest` is SQL of ours."""
    named = {
        "conversation": conversation.pk,
        "user": user.pk,
        "since": since,
        "large": conversation.people > limits.LARGE_ROOM,
        "managers": list(Member.MANAGERS),
        **values,
    }
    found = []
    for member, person, assistant in _with_whom(_MEMBER, _MEMBERS + rest, named):
        member.user, member.assistant = person, assistant
        found.append(member)
    return found


def _with_whom(
    columns: Columns[M], statement: str, values: Any
) -> Iterator[tuple[M, User | None, Assistant | None]]:
    """Rows, each with the person and the assistant whose columns follow its own."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    to_user = len(columns)
    to_assistant = to_user + len(_USER)
    for row in rows:
        user, assistant = row[to_user:to_assistant], row[to_assistant:]
        yield columns.read(row[:to_user]), _read(_USER, user), _read(_ASSISTANT, assistant)


def _read(columns: Columns[M], row: Sequence[Any]) -> M | None:
    """The row of a table that was joined; None where there was none to join."""
    return None if all(value is None for value in row) else columns.read(row)


def _snapshots(messages: Iterable[Message]) -> list[Snapshot]:
    streaming = [message.pk for message in messages if message.status == Message.Status.STREAMING]
    if not streaming:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_SNAPSHOTS, [streaming])
        return [
            Snapshot(message=row[0], attempt=row[1], index=row[2], text=row[3], reasoning=row[4])
            for row in cursor.fetchall()
        ]
