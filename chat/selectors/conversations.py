"""Conversations and members, as far as the one who asks may see them."""

from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from accounts.models import Session, User
from chat.models import Assistant, Conversation, Member
from core.errors import NotFound


def visible_conversations(user: User) -> QuerySet[Conversation]:
    """The conversations that a person is a member of now, newest activity first."""
    return Conversation.objects.filter(members__in=Member.objects.present().filter(user=user))


def require_member(user_id: UUID, conversation_id: UUID) -> None:
    """Return if the person is a member now. Raises NotFound."""
    readable_after(user_id, conversation_id)


def readable_after(user_id: UUID, conversation_id: UUID) -> int:
    """Return the `created_seq` up to which messages are not for this member. Raises NotFound."""
    root = Conversation.objects.filter(pk=conversation_id).values("root_seq")
    found = (
        Member.objects.present()
        .deciding(conversation_id)
        .filter(user=user_id)
        .values_list("joined_seq", "conversation__history", "conversation_id", Subquery(root))
        .first()
    )
    if found is None:
        raise NotFound
    joined_seq, history, members_of, root_seq = found
    if history != Conversation.History.JOINED:
        return 0
    if root_seq is not None and root_seq <= joined_seq:
        raise NotFound
    return joined_seq if members_of == conversation_id else 0


def members_of(
    user: User, conversation_id: UUID, *, q: str | None = None, role: str | None = None
) -> QuerySet[Member]:
    """The present members of a conversation the person is in, in joining order.

    `q` is how a name or nickname begins, or a word in it. Raises NotFound.
    """
    require_member(user.pk, conversation_id)
    members = Member.objects.present().deciding(conversation_id)
    if role is not None:
        members = members.filter(role=role)
    if q:
        # The name that people see, which is the user name where nobody gave another.
        begins = Q(user__display_name="", user__username__istartswith=q)
        for name in ("nickname", "user__display_name", "assistant__name"):
            begins |= Q(**{f"{name}__istartswith": q}) | Q(**{f"{name}__icontains": f" {q}"})
        members = members.filter(begins)
    return members.select_related("user", "assistant").order_by("joined_at", "pk")


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
    asked = Conversation.objects.live().filter(pk__in=conversation_ids)
    present = Member.objects.present().filter(
        Q(conversation__history=Conversation.History.ALL)
        | Q(joined_seq__lt=Coalesce(OuterRef("root_seq"), Value(2**63 - 1))),
        user=user_id,
        conversation=Coalesce(OuterRef("access_id"), OuterRef("pk")),
    )
    return signed_in.exists(), set(asked.filter(Exists(present)).values_list("pk", flat=True))
