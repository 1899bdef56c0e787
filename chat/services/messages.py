"""Saying something."""

from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import User
from chat import protocol
from chat.models import Assistant, Conversation, Message
from chat.services.changes import changing
from chat.services.conversations import require_model
from chat.services.replies import start_reply
from chat.states import message_state
from chatire.errors import Conflict, Invalid

# Replies of one conversation are written one after another, so that each knows the one before.
MAX_WAITING_REPLIES = 8


class SentMessage(NamedTuple):
    """A stored message, the reply it started, and whether this call is what stored it."""

    message: Message
    reply: Message | None
    created: bool


def send_message(
    *,
    user: User,
    conversation_id: UUID,
    client_id: str,
    content: str,
    parent: UUID | None = None,
    assistant: str | None = None,
    model: str | None = None,
    language: str = "",
) -> SentMessage:
    """Store a message, the pending reply to it and the reply's job, in one transaction.

    The same `client_id` by the same person gives the message stored first and changes nothing.
    In a conversation with an assistant every message is replied to; elsewhere only when
    `assistant` (the slug of a member) is named. Raises NotFound, Invalid for an unknown parent,
    assistant or model, Conflict if too many replies wait already.
    """
    with changing(conversation_id) as change:
        change.member(user)
        earlier = (
            _messages()
            .filter(conversation=change.conversation, author_user=user, client_id=client_id)
            .first()
        )
        if earlier is not None:
            return SentMessage(earlier, _reply_to(earlier), created=False)
        replier = _replier(change.conversation, assistant)
        if model is not None:
            require_model(replier, model)
        if replier is not None:
            _require_room_for_reply(change.conversation)
        seq = change.next_seq()
        message = Message.objects.create(
            conversation=change.conversation,
            author_user=user,
            role=Message.Role.USER,
            content=content,
            parent=_parent(change.conversation, parent),
            client_id=client_id,
            created_seq=seq,
            seq=seq,
        )
        change.publish(
            protocol.MessageCreated(
                conversation=conversation_id, seq=seq, message=message_state(message)
            )
        )
        reply = None
        if replier is not None:
            reply = start_reply(
                change=change,
                parent=message,
                assistant=replier,
                model=model or "",
                language=language,
            )
        change.touch(spoken=True)
    return SentMessage(message, reply, created=True)


def _messages() -> QuerySet[Message]:
    return Message.objects.select_related("author_user", "author_assistant")


def _reply_to(message: Message) -> Message | None:
    return _messages().filter(parent=message, role=Message.Role.ASSISTANT).order_by("pk").first()


def _replier(conversation: Conversation, slug: str | None) -> Assistant | None:
    present = Assistant.objects.filter(
        memberships__conversation=conversation, memberships__left_at=None
    )
    if slug is None:
        if conversation.kind != Conversation.Kind.ASSISTANT:
            return None
        return present.filter(is_active=True).first()
    chosen = present.filter(slug=slug).first()
    if chosen is None:
        raise Invalid("That assistant is not in this conversation.", field="assistant")
    if not chosen.is_active:
        raise Conflict("That assistant is switched off.")
    return chosen


def _require_room_for_reply(conversation: Conversation) -> None:
    active = Message.objects.filter(conversation=conversation, status__in=Message.ACTIVE).count()
    if active >= MAX_WAITING_REPLIES:
        raise Conflict("Too many replies are still to be written here; stop one or wait.")


def _parent(conversation: Conversation, parent: UUID | None) -> Message | None:
    if parent is None:
        return None
    found = Message.objects.filter(conversation=conversation, pk=parent).first()
    if found is None:
        raise Invalid("The message replied to is not in this conversation.", field="parent")
    return found
