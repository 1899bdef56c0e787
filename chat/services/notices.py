"""What people are notified of. Stored in the transaction of the change it is about."""

from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from chat.models import Conversation, JoinRequest, Member, Message, ReadState, Report
from chat.selectors.blocks import who_block
from notifications.services import notify


def _title(conversation: Conversation) -> str:
    if conversation.kind == Conversation.Kind.THREAD:
        return "a thread"
    return conversation.title or "a conversation"


def _address(conversation: Conversation) -> str:
    """Where the page shows it: a thread beside what it hangs on."""
    if conversation.root_id is not None:
        return f"/c/{conversation.parent_id}/t/{conversation.root_id}"
    return f"/c/{conversation.pk}"


def notify_added(*, conversation: Conversation, member: Member, by: User) -> None:
    """Tell a person that they were added to a conversation."""
    if member.user is None or who_block(by.pk, [member.user.pk]):
        return
    notify(
        recipient=member.user,
        source=by,
        category="conversation",
        action="member.added",
        obj=conversation,
        url=f"/c/{conversation.pk}",
        short_description=f"{by.name} added you to {_title(conversation)}",
        dedupe_key=f"member.added:{member.pk}:{member.seq}",
    )


def notify_asked(*, request: JoinRequest, manager: User) -> None:
    """Tell one who decides that somebody asks to be let in."""
    if who_block(request.user_id, [manager.pk]):
        return
    notify(
        recipient=manager,
        source=request.user,
        category="conversation",
        action="request.made",
        obj=request.conversation,
        url=f"/c/{request.conversation_id}",
        short_description=f"{request.user.name} asks to join {_title(request.conversation)}",
        dedupe_key=f"request.made:{request.pk}",
    )


def notify_reported(*, report: Report, manager: User) -> None:
    """Tell one who decides that a message was reported, once; not by whom, nor what it says."""
    notify(
        recipient=manager,
        category="conversation",
        action="report.made",
        obj=report.conversation,
        url=f"/c/{report.conversation_id}",
        short_description=f"A message was reported in {_title(report.conversation)}",
        dedupe_key=f"report.made:{report.message_id}",
    )


def notify_decided(*, request: JoinRequest, by: User) -> None:
    """Tell a person whether they were let in."""
    title = _title(request.conversation)
    notify(
        recipient=request.user,
        source=by,
        category="conversation",
        action="request.accepted" if request.accepted else "request.declined",
        obj=request.conversation,
        url=f"/c/{request.conversation_id}" if request.accepted else "",
        short_description=f"You were let into {title}"
        if request.accepted
        else f"You were not let into {title}",
        dedupe_key=f"request.decided:{request.pk}",
    )


def notify_reply_finished(*, conversation: Conversation, reply: Message) -> None:
    """Tell whoever asked that the reply to them is there; others see it in their lists."""
    asked = reply.parent.author_user if reply.parent is not None else None
    present = ReadState.objects.filter(
        Q(muted_until=None) | Q(muted_until__lte=timezone.now()),
        conversation=conversation,
        user=asked,
        gone=False,
        level__in=_HEARS_OF_REPLIES,
    )
    if asked is None or not present.exists():
        return
    name = reply.author_assistant.name if reply.author_assistant is not None else "The assistant"
    notify(
        recipient=asked,
        source_display_name=name,
        category="conversation",
        action="reply.finished",
        obj=conversation,
        url=_address(conversation),
        short_description=f"{name} replied in {_title(conversation)}",
        dedupe_key=f"reply.finished:{reply.pk}",
        extra_data={"message": str(reply.pk)},
    )


_HEARS_OF_REPLIES = (ReadState.Level.ALL, ReadState.Level.MENTIONS)
