"""Conversations and members, as far as the one who asks may see them."""

from uuid import UUID

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Left

from accounts.models import Session, User
from chat.models import Assistant, Conversation, Member, Message
from core.errors import NotFound

PREVIEW = 140  # characters of the newest message in a list


def visible_conversations(user: User) -> QuerySet[Conversation]:
    """The conversations that a person is a member of now, newest activity first.

    Each carries `preview`, `own_role`, `own_level` and `own_last_read_seq`.
    """
    own = Member.objects.present().filter(conversation=OuterRef("pk"), user=user)
    newest = (
        Message.objects.live()
        .filter(conversation=OuterRef("pk"))
        .exclude(content="")
        .order_by("-created_seq")
    )
    return (
        Conversation.objects.filter(members__in=Member.objects.present().filter(user=user))
        .annotate(
            preview=Subquery(newest.annotate(start=Left("content", PREVIEW)).values("start")[:1]),
            own_role=Subquery(own.values("role")[:1]),
            own_level=Subquery(own.values("level")[:1]),
            own_last_read_seq=Subquery(own.values("last_read_seq")[:1]),
        )
        .order_by("-active_at", "-id")
    )


def visible_conversation(user: User, conversation_id: UUID) -> Conversation:
    """Return one of `visible_conversations`. Raises NotFound."""
    found = visible_conversations(user).filter(pk=conversation_id).first()
    if found is None:
        raise NotFound
    return found


def require_member(user_id: UUID, conversation_id: UUID) -> None:
    """Return if the person is a member now. Raises NotFound."""
    if not Member.objects.present().filter(conversation=conversation_id, user=user_id).exists():
        raise NotFound


def members_of(user: User, conversation_id: UUID) -> QuerySet[Member]:
    """The present members of a conversation the person is in, in joining order.

    Raises NotFound.
    """
    require_member(user.pk, conversation_id)
    return (
        Member.objects.present()
        .filter(conversation=conversation_id)
        .select_related("user", "assistant")
        .order_by("joined_at", "pk")
    )


def active_assistants() -> QuerySet[Assistant]:
    """The assistants a conversation may be opened with."""
    return Assistant.objects.active().order_by("created_at", "pk")


def offers(assistant: Assistant, model: str) -> bool:
    """Say whether an assistant is, or may be, run on this model."""
    own = assistant.model or settings.DEFAULT_MODEL
    return model == own or model in assistant.allowed_models


def followable(
    user_id: UUID, session_id: UUID, conversation_ids: list[UUID]
) -> tuple[bool, set[UUID]]:
    """Say whether a session is still good, and which conversations its person may still follow."""
    signed_in = Session.objects.live().filter(pk=session_id, user=user_id)
    present = Member.objects.present().filter(user=user_id, conversation__in=conversation_ids)
    return signed_in.exists(), set(present.values_list("conversation_id", flat=True))
