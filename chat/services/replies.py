"""The writes of a reply's life: started, claimed, finished, handed back, cancelled, resumed.

A reply is `pending` until a worker claims it, `streaming` until it ends. Each claim raises
`attempt`, the fencing token: whoever holds an older one changes nothing. One that was continued
keeps what its earlier runs left in its row until it ends anew, so that no lost worker takes that
with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone
from structlog.contextvars import get_contextvars

from chat.change import Change, changing
from chat.errors import RepliesUsedUp, TooManyMentions
from chat.models import Assistant, Conversation, Message
from chat.permissions import REPLIES
from chat.selectors.messages import active_reply
from chat.services.mentions import named_in
from chat.services.notices import notify_reply_finished
from chat.services.topic_rows import moved
from core.errors import Conflict, NotFound
from core.jobs import enqueue_named
from protocol.errors import ReplyError

STREAM_TASK = "chat.stream_reply"
TITLE_TASK = "chat.write_title"
# Someone waits for a reply; everything else in the queue is for later.
STREAM_PRIORITY = 10
# A reply that was begun before comes before later ones of its conversation.
AGAIN_PRIORITY = STREAM_PRIORITY + 1
# A reply that takes its worker down must not take down all of them, one after another.
MAX_ATTEMPTS = 5
# Replies of one conversation are written one after another, so that each knows the one before.
MAX_WAITING_REPLIES = 8

_COUNT_REPLY = """
UPDATE chat_conversation
SET reply_count = CASE WHEN reply_day = %(today)s THEN reply_count + 1 ELSE 1 END,
    reply_day = %(today)s
WHERE id = %(room)s
    AND CASE WHEN reply_day = %(today)s THEN reply_count ELSE 0 END < %(most)s
"""
# A person's message asks at depth 0; a reply at this depth asks no other assistant.
MAX_DEPTH = 3

_Status = Message.Status
_ENDED = (_Status.CANCELLED, _Status.INTERRUPTED, _Status.FAILED, _Status.COMPLETE)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a reply, until someone holds a higher `attempt`.

    What `message` says already, its earlier runs have said: this one goes on from there.
    """

    message: Message
    conversation: Conversation
    attempt: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reply ended. Token counts are None where nothing is known of them."""

    status: str
    content: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    refusal: str = field(default="", repr=False)
    tool_calls: Sequence[dict[str, Any]] = field(default=(), repr=False)
    finish_reason: str = ""
    error_code: str = ""
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage_estimated: bool = False


def start_reply(
    *,
    change: Change,
    parent: Message,
    assistant: Assistant,
    waiting: int | None = None,
    model: str = "",
    language: str = "",
) -> Message:
    """Store a pending reply to `parent` and the job that writes it, in the caller's change.

    An empty `model` is chosen when the reply is written: the conversation's, else the assistant's.
    `waiting` is how many replies wait here already, if the caller has counted them.
    Raises Conflict if too many do, RepliesUsedUp if the room's policy allows no more today.
    """
    _require_room(change, waiting)
    reply = Message(
        conversation=change.conversation,
        author_assistant=assistant,
        role=Message.Role.ASSISTANT,
        status=_Status.PENDING,
        parent=parent,
        model=model,
        language=language,
    )
    change.created(reply)
    _enqueue(reply)
    return reply


def resume_reply(*, change: Change, reply: Message) -> Message:
    """Let a reply that has ended go on after the text it has, and return it as it is now.

    Raises Conflict if it has not ended, or if too many replies wait already; RepliesUsedUp.
    """
    _require_room(change)
    resumed = _move(
        change,
        reply.pk,
        reply.attempt,
        _ENDED,
        {
            "status": _Status.PENDING,
            # A worker that has not heard that it ended this reply may not end it again.
            "attempt": reply.attempt + 1,
            "earlier_attempts": reply.attempt + 1,
            "stop_requested_at": None,
            "finish_reason": "",
            "error_code": "",
        },
        read=reply,
    )
    if resumed is None:
        raise Conflict
    _enqueue(resumed)
    return resumed


def cancel_waiting_reply(*, change: Change, reply: Message) -> Message | None:
    """End a pending reply with what it has; None if a worker has claimed it."""
    return _move(
        change,
        reply.pk,
        reply.attempt,
        (_Status.PENDING,),
        {"status": _Status.CANCELLED},
        read=reply,
    )


def _require_room(change: Change, waiting: int | None = None) -> None:
    if waiting is None:
        waiting = Message.objects.active().filter(conversation=change.conversation).count()
    if waiting >= MAX_WAITING_REPLIES:
        raise Conflict("Too many replies are still to be written here; stop one or wait.")
    most = change.room.policy.get(REPLIES)
    if most is None:
        return
    today = timezone.now().astimezone(UTC).date()
    # Threads and topics count with their room, whose row is locked after theirs.
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_REPLY, {"room": change.room.pk, "today": today, "most": most})
        if not cursor.rowcount:
            raise RepliesUsedUp(most=most)


def _enqueue(reply: Message, *, priority: int = STREAM_PRIORITY) -> None:
    enqueue_named(
        STREAM_TASK,
        # One after another in a conversation: each reply's history has the one before.
        lock=f"replies:{reply.conversation_id.hex}",
        priority=priority,
        message_id=str(reply.pk),
        conversation_id=str(reply.conversation_id),
        request_id=str(get_contextvars().get("request_id", "")),
    )


def claim_reply(*, message_id: UUID, conversation_id: UUID) -> Claim | None:
    """Take a reply that waits, or whose worker was lost, under the next `attempt`.

    None if there is nothing to write: it is gone, has ended, or was to be stopped, which this
    then does. A reply that has lost MAX_ATTEMPTS workers fails with `worker_lost`. The text of a
    reply that ends here is kept.
    """
    try:
        with changing(conversation_id) as change:
            return _claim(change, message_id)
    except NotFound:
        return None


def _claim(change: Change, message_id: UUID) -> Claim | None:
    message = active_reply(message_id)
    if message is None:
        return None
    if message.stop_requested_at is not None or message.deleted_at is not None:
        _end_with_chunks(change, message, Outcome(status=_Status.CANCELLED))
        return None
    if message.attempt - message.earlier_attempts >= MAX_ATTEMPTS:
        lost = Outcome(status=_Status.FAILED, error_code=ReplyError.WORKER_LOST)
        _end_with_chunks(change, message, lost)
        return None
    if message.attempt:
        _delete_chunks(message_id)
    claimed = _move(
        change,
        message_id,
        message.attempt,
        Message.ACTIVE,
        {"status": _Status.STREAMING, "attempt": message.attempt + 1},
        read=message,
    )
    if claimed is None:
        return None
    return Claim(claimed, change.conversation, claimed.attempt)


def finish_reply(
    *, message_id: UUID, conversation_id: UUID, attempt: int, outcome: Outcome
) -> bool:
    """End a streaming reply: text, status, usage; notification and title job with it.

    False if this `attempt` no longer holds the reply, and then nothing has changed. Doing it
    again with the same outcome, as after a commit whose answer was lost, publishes it again.
    """
    try:
        with changing(conversation_id) as change:
            message = _end(change, message_id, attempt, outcome)
            if message is None:
                return _publish_again(change, message_id, attempt, outcome)
            _delete_chunks(message_id)
            if outcome.status != _Status.CANCELLED:
                notify_reply_finished(conversation=change.conversation, reply=message)
            if outcome.status == _Status.COMPLETE and _wants_title(change.conversation, message):
                enqueue_named(TITLE_TASK, message_id=str(message_id))
            change.touch(said=message)
            moved(change)
            if outcome.status == _Status.COMPLETE:
                _ask_named(change, message)
            return True
    except NotFound:
        return False


def _ask_named(change: Change, reply: Message) -> None:
    """Ask the other assistants that a reply names, as far as that may go on."""
    try:
        named = named_in(change.conversation, reply.content, by=None).assistants
    except TooManyMentions:
        return
    others = [one for one in named if one != reply.author_assistant_id]
    if not others or _depth(reply) >= MAX_DEPTH:
        return
    for assistant in in_order(others):
        try:
            start_reply(change=change, parent=reply, assistant=assistant, language=reply.language)
        except (Conflict, RepliesUsedUp):
            # What nobody asked for gives way.
            return


def _depth(reply: Message) -> int:
    """How many replies led to this one, itself included, since a person spoke."""
    depth, parent = 1, reply.parent
    while depth < MAX_DEPTH and parent is not None and parent.role == Message.Role.ASSISTANT:
        depth, parent = depth + 1, parent.parent
    return depth


def in_order(assistants: Sequence[UUID]) -> list[Assistant]:
    """Return those of these assistants that are switched on, in this order."""
    found = Assistant.objects.active().in_bulk(assistants)
    return [found[one] for one in assistants if one in found]


def hand_back_reply(*, message_id: UUID, conversation_id: UUID, attempt: int) -> bool:
    """Give a streaming reply back to the queue, for another worker to begin it anew.

    False if this `attempt` no longer holds it.
    """
    try:
        with changing(conversation_id) as change:
            message = _move(
                change, message_id, attempt, (_Status.STREAMING,), {"status": _Status.PENDING}
            )
            if message is None:
                return False
            _delete_chunks(message_id)
            _enqueue(message, priority=AGAIN_PRIORITY)
            return True
    except NotFound:
        return False


def enqueue_lost_reply(*, message_id: UUID) -> bool:
    """Give a reply that has not ended and has no job a job again. For the reaper."""
    message = Message.objects.active().filter(pk=message_id).first()
    if message is None:
        return False
    _enqueue(message, priority=AGAIN_PRIORITY)
    return True


def _move(
    change: Change,
    message_id: UUID,
    attempt: int,
    expected: Sequence[str],
    values: dict[str, Any],
    *,
    read: Message | None = None,
) -> Message | None:
    """Give a reply these values if it is still in this attempt and status, else return None."""
    held = Message.objects.filter(pk=message_id, attempt=attempt, status__in=expected)
    return change.swap(held, read=read, **values)


def _end(change: Change, message_id: UUID, attempt: int, outcome: Outcome) -> Message | None:
    """Compare, swap, publish. A pending reply only ever ends as cancelled."""
    expected = Message.ACTIVE if outcome.status == _Status.CANCELLED else (_Status.STREAMING,)
    values: dict[str, Any] = {
        "status": outcome.status,
        "content": outcome.content,
        "reasoning": outcome.reasoning,
        "refusal": outcome.refusal,
        "tool_calls": list(outcome.tool_calls),
        "finish_reason": outcome.finish_reason,
        "error_code": outcome.error_code,
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "usage_estimated": outcome.usage_estimated,
    }
    if outcome.model:
        values["model"] = outcome.model[:120]
    return _move(change, message_id, attempt, expected, values)


def _end_with_chunks(change: Change, message: Message, outcome: Outcome) -> None:
    """End a reply that has no worker, with what its last one had stored, else what it had."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(string_agg(text, '' ORDER BY index), ''),"
            " coalesce(string_agg(reasoning, '' ORDER BY index), '')"
            " FROM chat_replychunk WHERE message_id = %s AND attempt = %s",
            [message.pk, message.attempt],
        )
        content, reasoning = cursor.fetchone()
    ended = _move(
        change,
        message.pk,
        message.attempt,
        Message.ACTIVE,
        {
            "status": outcome.status,
            "error_code": outcome.error_code,
            "content": content or message.content,
            "reasoning": reasoning or message.reasoning,
        },
    )
    if ended is not None:
        _delete_chunks(message.pk)
        change.touch(said=ended)
        moved(change)


def _publish_again(change: Change, message_id: UUID, attempt: int, outcome: Outcome) -> bool:
    message = (
        Message.objects.with_authors()
        .filter(pk=message_id, attempt=attempt, status=outcome.status, content=outcome.content)
        .first()
    )
    if message is None:
        return False
    change.repeat(message)
    return True


def _delete_chunks(message_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM chat_replychunk WHERE message_id = %s", [message_id])


def _wants_title(conversation: Conversation, message: Message) -> bool:
    """Say whether this was the first exchange of a conversation without a title.

    A thread has none: what it hangs on says what it is about.
    """
    if conversation.title or conversation.kind == Conversation.Kind.THREAD:
        return False
    earlier = Message.objects.filter(
        conversation=conversation, role=Message.Role.ASSISTANT, status=_Status.COMPLETE
    ).exclude(pk=message.pk)
    return not earlier.exists()
