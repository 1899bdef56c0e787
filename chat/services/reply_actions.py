"""What people ask of a reply: to stop, to be made again, to go on."""

from uuid import UUID

from django.utils import timezone

from accounts.models import User
from chat.change import Change, changing, conversation_of
from chat.errors import ReadOnly, Silenced
from chat.models import Assistant, Member, Message, MessageQuerySet
from chat.permissions import require
from chat.services.replies import (
    cancel_waiting_reply,
    resume_reply,
    start_reply,
)
from core.errors import Conflict, Invalid, NotFound
from core.jobs import signal_workers_on_commit

STOP_SIGNAL = "stop"

_Status = Message.Status


def request_stop(*, user: User, message_id: UUID) -> Message:
    """Ask for a reply to stop, by any member, and return it as it is now.

    One that waits is cancelled at once. One that streams is marked and its worker woken; it
    then ends as cancelled with its text so far. One that has ended is left as it is.
    Raises NotFound; Invalid for a message that is not a reply.
    """
    with changing(conversation_of(message_id)) as change:
        reply = _reply(change, user, message_id, "Only a reply can be stopped.")
        stopped = stop_reply(change=change, reply=reply)
        if stopped.status == _Status.CANCELLED:
            change.touch()
        return stopped


def stop_reply(*, change: Change, reply: Message) -> Message:
    """Do what `request_stop` does, in the caller's change."""
    if reply.status == _Status.PENDING:
        return cancel_waiting_reply(change=change, reply=reply) or reply
    if reply.status == _Status.STREAMING:
        marked = Message.objects.filter(
            pk=reply.pk, status=_Status.STREAMING, stop_requested_at=None
        )
        marked.update(stop_requested_at=timezone.now())
        signal_workers_on_commit(STOP_SIGNAL, message=reply.pk.hex)
    return reply


def regenerate(*, user: User, message_id: UUID, model: str = "") -> Message:
    """Start another reply to the message that `message_id` answers, and return it.

    While a reply to that one is being made, that one is returned: two clicks make one run.
    Raises NotFound; Invalid for a message that is not a reply; Conflict if its assistant or what
    it answers is gone, or if too many replies wait already.
    """
    with changing(conversation_of(message_id)) as change:
        reply = _reply(change, user, message_id, "Only a reply can be made again.", asks=True)
        parent = _parent_of(reply)
        active = active_replies(parent).filter(author_assistant=reply.author_assistant).last()
        if active is not None:
            return active
        again = start_reply(
            change=change,
            parent=parent,
            assistant=_present_assistant(change, reply),
            model=model,
            language=reply.language,
        )
        change.touch(said=again)
        return again


def continue_reply(*, user: User, message_id: UUID) -> Message:
    """Let a reply that ended before its time go on from where it ended, and return it.

    That is one that was stopped, broke off, failed or was cut off at its longest length. While it
    is being made it is returned as it is: two clicks make one run. Raises NotFound; Invalid for a
    message that is not a reply; Conflict for one that said all it had to say, if its assistant or
    what it answers is gone, or if too many replies wait already.
    """
    with changing(conversation_of(message_id)) as change:
        reply = _reply(change, user, message_id, "Only a reply can go on.", asks=True)
        if reply.status in Message.ACTIVE:
            return reply
        if reply.status == _Status.COMPLETE and reply.finish_reason != "length":
            raise Conflict("This reply is complete.")
        _parent_of(reply)
        _present_assistant(change, reply)
        resumed = resume_reply(change=change, reply=reply)
        change.touch(said=resumed)
        return resumed


def active_replies(parent: Message) -> MessageQuerySet:
    """Replies to a message that are being made, oldest first."""
    return (
        Message.objects.with_authors()
        .active()
        .filter(parent=parent, role=Message.Role.ASSISTANT)
        .order_by("created_seq")
    )


def _reply(
    change: Change, user: User, message_id: UUID, otherwise: str, *, asks: bool = False
) -> Message:
    """A reply under the lock, for a member; with `asks`, one who may ask an assistant.

    Raises NotFound, NotAllowed, and Invalid saying `otherwise`.
    """
    member = change.member(user)
    message = readable_message(change, member, message_id)
    if message.role != Message.Role.ASSISTANT:
        raise Invalid(otherwise, field="message")
    if asks:
        require("ask", member, change.room)
        if change.is_archived:
            raise ReadOnly
        require_not_silenced(member)
    return message


def require_not_silenced(member: Member) -> None:
    """Raise Silenced if a member may say nothing now."""
    if member.silenced_until is not None and member.silenced_until > timezone.now():
        raise Silenced(until=member.silenced_until.isoformat())


def readable_message(change: Change, member: Member, message_id: UUID) -> Message:
    """A message under the lock, as far as the member may read. Raises NotFound."""
    readable = (
        Message.objects.with_authors()
        .select_related("parent")
        .filter(
            conversation=change.conversation,
            created_seq__gt=member.readable_after(change.conversation),
        )
    )
    message = readable.filter(pk=message_id).first()
    if message is None:
        raise NotFound
    return message


def _parent_of(reply: Message) -> Message:
    parent = reply.parent
    if parent is None or parent.deleted_at is not None or reply.deleted_at is not None:
        raise Conflict("What this was a reply to is gone.")
    return parent


def _present_assistant(change: Change, reply: Message) -> Assistant:
    present = Member.objects.present().filter(
        conversation=change.conversation.members_of, assistant=reply.author_assistant
    )
    assistant = Assistant.objects.active().filter(memberships__in=present).first()
    if assistant is None:
        raise Conflict("That assistant is not here any more.")
    return assistant
