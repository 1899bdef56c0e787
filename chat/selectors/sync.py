"""What brings a client up to date: the rows after its `seq`, from one consistent read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction

from accounts.models import User
from chat.models import Conversation, Installation, Member, MemberQuerySet, Message
from chat.selectors.conversations import require_member
from chat.selectors.messages import messages_with_authors
from chat.states import conversation_state, member_state, message_state
from protocol import limits
from protocol.states import Changes, Snapshot

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
    epoch = installation_epoch()
    with consistent_read():
        require_member(user.pk, conversation_id)
        conversation = Conversation.objects.get(pk=conversation_id)
        reset = since is not None and since > conversation.seq
        if since is None or reset:
            return _first_load(epoch, conversation, since, reset=reset)
        return _later(epoch, conversation, since)


def _first_load(
    epoch: UUID, conversation: Conversation, since: int | None, *, reset: bool
) -> Changes:
    newest = list(
        messages_with_authors()
        .filter(conversation=conversation)
        .order_by("-created_seq")[: limits.PAGE + 1]
    )
    messages = newest[: limits.PAGE][::-1]
    members = _members(conversation).present()
    return Changes(
        epoch=epoch,
        conversation=conversation_state(conversation),
        since=since,
        seq=conversation.seq,
        reset=reset,
        complete=True,
        messages=[message_state(message) for message in messages],
        members=[member_state(member) for member in members],
        snapshots=_snapshots(messages),
        more_before=len(newest) > limits.PAGE,
    )


def _later(epoch: UUID, conversation: Conversation, since: int) -> Changes:
    most = limits.MAX_CHANGES
    messages = list(
        messages_with_authors()
        .filter(conversation=conversation, seq__gt=since)
        .order_by("seq")[: most + 1]
    )
    members = list(_members(conversation).filter(seq__gt=since).order_by("seq")[: most + 1])
    # Where one of the lists is cut, both are cut at the same seq, and the client asks on.
    cut = conversation.seq
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
    return Changes(
        epoch=epoch,
        conversation=conversation_state(conversation),
        since=since,
        seq=cut,
        reset=False,
        complete=cut == conversation.seq,
        messages=[message_state(message) for message in messages],
        members=[member_state(member) for member in members if member.seq <= cut],
        # Also of replies whose row did not change: their text has grown since.
        snapshots=_snapshots(
            Message.objects.filter(
                conversation=conversation, status=Message.Status.STREAMING, seq__lte=cut
            )
        ),
        more_before=False,
    )


def _members(conversation: Conversation) -> MemberQuerySet:
    return Member.objects.filter(conversation=conversation).select_related("user", "assistant")


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
