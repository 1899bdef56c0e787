"""Rooms that can be found, and the ways into them."""

from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import User
from chat.errors import InvitationInvalid
from chat.models import (
    Conversation,
    ConversationQuerySet,
    Invitation,
    JoinRequest,
    Member,
    MemberQuerySet,
    Sanction,
)
from chat.models.tokens import invitation_id, is_token_of
from chat.permissions import may, require
from core.errors import NotFound

_LISTED = (Conversation.Access.OPEN, Conversation.Access.LISTED)


def listed_rooms(user: User) -> ConversationQuerySet:
    """The rooms that a person may find; a guest finds none."""
    rooms = Conversation.objects.live().filter(access__in=_LISTED, archived_at=None)
    return rooms.none() if user.is_guest else rooms


def directory(user: User, q: str = "") -> QuerySet[Conversation]:
    """`listed_rooms` with `q` in their titles, and whether one `is_in` them or `has_asked`."""
    rooms = listed_rooms(user)
    if q:
        rooms = rooms.filter(title__icontains=q)
    present = Member.objects.present().filter(conversation=OuterRef("pk"), user=user)
    asked = JoinRequest.objects.filter(conversation=OuterRef("pk"), user=user, decided_at=None)
    return rooms.annotate(is_in=Exists(present), has_asked=Exists(asked))


def own_membership(user: User, conversation_id: UUID) -> Member:
    """Return a person's present membership, with its conversation. Raises NotFound."""
    member = (
        Member.objects.present()
        .select_related("conversation")
        .filter(conversation=conversation_id, user=user)
        .first()
    )
    if member is None:
        raise NotFound
    return member


def open_requests(user: User, conversation_id: UUID) -> QuerySet[JoinRequest]:
    """Who asks to be let in, and was not answered. Raises NotFound or NotAllowed."""
    member = own_membership(user, conversation_id)
    require("requests", member, member.conversation)
    requests = JoinRequest.objects.select_related("user", "invitation")
    return requests.filter(conversation=conversation_id, decided_at=None)


def invitations_of(user: User, conversation_id: UUID) -> QuerySet[Invitation]:
    """The links into a room, all or one's own, without those that were revoked.

    Raises NotFound or NotAllowed.
    """
    member = own_membership(user, conversation_id)
    require("invite", member, member.conversation)
    links = Invitation.objects.unrevoked().select_related("by").filter(conversation=conversation_id)
    if may("invitations", member.role, member.conversation):
        return links
    return links.filter(by=user)


def members_by_invitation(user: User, conversation_id: UUID, invitation_id: UUID) -> MemberQuerySet:
    """Who came by a link and is still there. Raises NotFound or NotAllowed."""
    member = own_membership(user, conversation_id)
    links = Invitation.objects.filter(pk=invitation_id, conversation=conversation_id)
    own = links.filter(by=user).exists()
    require("invite" if own else "invitations", member, member.conversation)
    if not links.exists():
        raise NotFound
    came = Member.objects.present().filter(conversation=conversation_id, invitation=invitation_id)
    return came.select_related("user", "assistant")


def bans_of(user: User, conversation_id: UUID) -> QuerySet[Sanction]:
    """Who may not come into a room. Raises NotFound or NotAllowed."""
    member = own_membership(user, conversation_id)
    require("ban", member, member.conversation)
    return Sanction.objects.live().select_related("user", "by").filter(conversation=conversation_id)


def signed_invitation(token: str) -> Invitation:
    """Return the invitation of a token, with its room, even if nobody can take it any more.

    Raises InvitationInvalid.
    """
    claimed = invitation_id(token)
    found = Invitation.objects.select_related("conversation", "by")
    invitation = None if claimed is None else found.filter(pk=claimed).first()
    if invitation is None or not is_token_of(token, invitation):
        raise InvitationInvalid
    if invitation.conversation.deleted_at is not None:
        raise InvitationInvalid
    return invitation


def invitation_by(token: str) -> Invitation:
    """Return the invitation of a token, with its room, if it can be taken.

    Raises InvitationInvalid, whatever the reason.
    """
    invitation = signed_invitation(token)
    live = Invitation.objects.live().filter(pk=invitation.pk, by__is_active=True)
    maker = Member.objects.present().filter(
        conversation=invitation.conversation, user=invitation.by_id
    )
    role = maker.values_list("role", flat=True).first()
    if role is None or not may("invite", role, invitation.conversation) or not live.exists():
        raise InvitationInvalid
    return invitation
