"""What brings a client up to date: the rows after its `seq`, from one consistent read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q

from accounts.models import User
from chat.models import Conversation, Installation, Member, MemberQuerySet, Message
from chat.selectors.conversations import visible_conversations
from chat.selectors.tallies import tallies_of, tallies_since
from chat.states import conversation_state, member_state, message_state
from core.columns import Columns
from core.errors import NotFound
from protocol import limits
from protocol.states import Changes, Snapshot

_CONVERSATION = Columns(Conversation, "c")
_STANDING = f"""
SELECT (SELECT epoch FROM chat_installation),
    EXISTS (
        SELECT FROM chat_message WHERE conversation_id = c.id AND status = 'streaming'
    ),
    {_CONVERSATION}
FROM chat_conversation c
JOIN chat_member m ON m.conversation_id = c.id AND m.left_at IS NULL
WHERE c.id = %s AND m.user_id = %s
"""  # noqa: S608 - nothing but the names of columns

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


def installation_epoch() -> UUID:
    """Return the installation's epoch; a client that holds another starts afresh."""
    return Installation.objects.get_or_create(pk=1)[0].epoch


@contextmanager
def consistent_read() -> Iterator[None]:
    """Let every query of the block see the same state of the database, and write nothing."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def changes_since(*, user: User, conversation_id: UUID, since: int | None) -> Changes:
    """Return what a client that knows everything up to `since` lacks (None: a first load).

    Raises NotFound. Not inside a transaction: it needs one of its own.
    """
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, [conversation_id, user.pk])
        found = cursor.fetchone()
    if found is None:
        raise NotFound
    epoch, streaming, *row = found
    conversation = _CONVERSATION.read(row)
    if since == conversation.seq and not streaming and epoch is not None:
        return _changes(epoch, conversation, since)
    epoch = installation_epoch()
    with consistent_read():
        visible = visible_conversations(user).filter(pk=conversation_id).first()
        if visible is None:
            raise NotFound
        conversation = visible
        reset = since is not None and since > conversation.seq
        if since is None or reset:
            return _first_load(user, epoch, conversation, since, reset=reset)
        return _later(user, epoch, conversation, since)


def _changes(epoch: UUID, conversation: Conversation, since: int | None, **values: Any) -> Changes:
    """Return an answer with nothing in it but `values`."""
    nothing: dict[str, Any] = {
        "seq": conversation.seq,
        "reset": False,
        "complete": True,
        "messages": [],
        "members": [],
        "tallies": [],
        "snapshots": [],
        "more_before": False,
    }
    return Changes(
        epoch=epoch,
        conversation=conversation_state(conversation),
        since=since,
        number=conversation.number,
        people=conversation.people,
        **nothing | values,
    )


def _first_load(
    user: User, epoch: UUID, conversation: Conversation, since: int | None, *, reset: bool
) -> Changes:
    newest = list(
        Message.objects.with_authors()
        .filter(conversation=conversation)
        .order_by("-created_seq")[: limits.PAGE + 1]
    )
    messages = newest[: limits.PAGE][::-1]
    members = _members(user, conversation).present()
    return _changes(
        epoch,
        conversation,
        since,
        reset=reset,
        messages=[message_state(message) for message in messages],
        members=[member_state(member) for member in members],
        tallies=tallies_of(user, [message.pk for message in messages]),
        snapshots=_snapshots(messages),
        more_before=len(newest) > limits.PAGE,
    )


def _later(user: User, epoch: UUID, conversation: Conversation, since: int) -> Changes:
    most = limits.MAX_CHANGES
    messages = list(
        Message.objects.with_authors()
        .filter(conversation=conversation, seq__gt=since)
        .order_by("seq")[: most + 1]
    )
    known = _members(user, conversation, since).filter(seq__gt=since)
    members = list(known.order_by("seq")[: most + 1])
    tallies = tallies_since(user, conversation.pk, since, most=most)
    # Where one of the lists is cut, all are cut at the same seq, and the client asks on.
    cut = conversation.seq
    if len(tallies) >= most:
        cut = tallies[-1].seq
    for rows in (messages, members):
        if len(rows) > most:
            cut = min(cut, rows[most - 1].seq)
    length = 0
    for message in messages:
        length += len(message.content) + len(message.reasoning)
        if length > limits.MAX_CHANGES_TEXT and message is not messages[0]:
            cut = min(cut, message.seq - 1)
            break
    messages = [message for message in messages if message.seq <= cut]
    return _changes(
        epoch,
        conversation,
        since,
        seq=cut,
        complete=cut == conversation.seq,
        messages=[message_state(message) for message in messages],
        members=[member_state(member) for member in members if member.seq <= cut],
        tallies=[tally for tally in tallies if tally.seq <= cut],
        # Also of replies whose row did not change: their text has grown since.
        snapshots=_snapshots(
            Message.objects.filter(
                conversation=conversation, status=Message.Status.STREAMING, seq__lte=cut
            )
        ),
    )


def _members(user: User, conversation: Conversation, since: int | None = None) -> MemberQuerySet:
    """Those that a client is told of by name: of a large room only who matters to everyone.

    One who was a manager once is among those that have changed since they joined.
    """
    members = Member.objects.filter(conversation=conversation).select_related("user", "assistant")
    if conversation.people <= limits.LARGE_ROOM:
        return members
    named = Q(role__in=Member.MANAGERS) | Q(assistant__isnull=False) | Q(user=user)
    if since is not None:
        named |= Q(seq__gt=F("joined_seq"), left_at=None)
    return members.filter(named)


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
