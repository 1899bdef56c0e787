"""Coming into a room: as one likes, by asking, by a link."""

from datetime import timedelta
from math import ceil
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from accounts.models import User
from accounts.services import Tokens, create_guest, open_session
from accounts.services.locks import locked
from chat.change import Change, changing
from chat.errors import InvitationInvalid, TooManyLinks
from chat.models import Conversation, Invitation, JoinRequest, Member
from chat.permissions import RANKS, may, require
from chat.selectors.joining import invitation_by, listed_rooms, signed_invitation
from chat.services.audit import record_member
from chat.services.members import (
    end_membership,
    looks_like_another,
    new_member,
    require_not_banned,
)
from chat.services.notices import notify_asked, notify_decided
from core.errors import Conflict, Invalid, NotAllowed, NotFound

_MOST_TOLD: Final = 20  # managers who are notified of a request
# Links that one person makes in an hour.
LINKS_AN_HOUR: Final = 20


class Taken(NamedTuple):
    """What taking an invitation came to: a membership, or a request that somebody decides."""

    conversation: Conversation
    member: Member | None
    request: JoinRequest | None


def join_room(*, user: User, conversation_id: UUID) -> Member:
    """Join an open room; who is in it stays as they are.

    Raises NotFound for a room that is not listed to this person, NotAllowed for one that lets
    people in by request, Banned.
    """
    with changing(conversation_id) as change:
        member = _present(change, user)
        if member is not None:
            return member
        _require_listed(user, change.conversation)
        if change.conversation.access != Conversation.Access.OPEN:
            raise NotAllowed("Ask to be let in.", action="join", needs=Member.Role.GUEST)
        member = new_member(change=change, user=user)
        change.touch()
    return member


def request_to_join(*, user: User, conversation_id: UUID, text: str = "") -> JoinRequest:
    """Ask to be let into a listed room; asking again changes nothing.

    Raises NotFound for a room that is not listed to this person, Conflict for one they are in or
    may join, Banned.
    """
    with changing(conversation_id) as change:
        if _present(change, user) is not None:
            raise Conflict("You are a member already.")
        _require_listed(user, change.conversation)
        if change.conversation.access == Conversation.Access.OPEN:
            raise Conflict("This room is open: join it.")
        return _ask(change, user, text=text)


def decide_request(
    *, user: User, conversation_id: UUID, request_id: UUID, accept: bool
) -> JoinRequest:
    """Let someone in who asked, or not, and tell them.

    Raises NotFound, NotAllowed; Conflict if it was decided already; InvitationInvalid if the link
    they came by has been used up; Banned.
    """
    with changing(conversation_id) as change:
        require("requests", change.member(user), change.conversation)
        asked = JoinRequest.objects.select_related("user", "conversation", "invitation").filter(
            pk=request_id, conversation=change.conversation
        )
        request = asked.first()
        if request is None:
            raise NotFound
        if request.decided_at is not None:
            raise Conflict("This was decided already.")
        request.accepted, request.decided_by = accept, user
        request.decided_at = timezone.now()
        request.save(update_fields=["accepted", "decided_by", "decided_at"])
        if accept and _present(change, request.user) is None:
            _come_in(change, request.user, by=user, invitation=request.invitation)
        notify_decided(request=request, by=user)
    return request


def create_invitation(*, user: User, conversation_id: UUID, **values: Any) -> Invitation:
    """Make a link: `role`, `guests`, `email`, `max_uses`, `expires_at`, `approval`, `label`.

    Raises NotFound, NotAllowed, TooManyLinks, or Invalid for a conversation that nobody can be
    invited to.
    """
    with changing(conversation_id) as change:
        require("invite", change.member(user), change.conversation)
        if change.conversation.kind in Conversation.CLOSED:
            raise Invalid("Nobody can be invited to it; open a group.")
        _require_few_links(user)
        return Invitation.objects.create(conversation=change.conversation, by=user, **values)


def change_invitation(
    *, user: User, conversation_id: UUID, invitation_id: UUID, renew: bool = False, **values: Any
) -> Invitation:
    """Change a link's `label`, `max_uses` or `expires_at`; with `renew`, the old text of it ends.

    Raises NotFound or NotAllowed.
    """
    with changing(conversation_id) as change:
        invitation = _manageable(change, user, invitation_id)
        for name, value in values.items():
            setattr(invitation, name, value)
        if renew:
            invitation.version += 1
        invitation.save(update_fields=[*values, "version"])
    return invitation


def revoke_invitation(*, user: User, conversation_id: UUID, invitation_id: UUID) -> None:
    """End a link; ending it again changes nothing. Raises NotFound or NotAllowed."""
    with changing(conversation_id) as change:
        _revoke(_manageable(change, user, invitation_id))


def remove_invited(*, user: User, conversation_id: UUID, invitation_id: UUID) -> int:
    """End a link and remove all below one's own rank who came by it; return how many that were.

    Raises NotFound or NotAllowed.
    """
    with changing(conversation_id) as change:
        acting = change.member(user)
        require("remove", acting, change.conversation)
        invitation = _manageable(change, user, invitation_id)
        _revoke(invitation)
        came = Member.objects.present().select_related("user").filter(invitation=invitation)
        # Whoever has risen since is not shown out with the others.
        below = [
            member
            for member in came.order_by("pk")
            if member.pk != acting.pk and _is_below(member, acting)
        ]
        for member in below:
            record_member(change.conversation, "member.removed", member, by=user)
            end_membership(change=change, member=member)
    return len(below)


def take_invitation(*, user: User, token: str) -> Taken:
    """Come into a room by a link, or, where that needs approval, ask to.

    Who is in it already uses nothing up. Raises InvitationInvalid, Banned.
    """
    with changing(signed_invitation(token).conversation_id) as change:
        member = _present(change, user)
        if member is not None:
            return Taken(change.conversation, member, None)
        return _take(change, user, invitation_by(token))


def take_invitation_as_guest(
    *, name: str, token: str, user_agent: str = ""
) -> tuple[Tokens, Taken]:
    """Make a guest and let them in, in one transaction; return their tokens too.

    Raises InvitationInvalid; GuestsNotAllowed; Invalid for a name that looks like a member's.
    """
    room = invitation_by(token).conversation
    # Reads as many names as there are people, so before the room waits for it.
    _require_own_name(room, name)
    with changing(room.pk) as change:
        invitation = invitation_by(token)
        if not invitation.guests:
            raise InvitationInvalid
        guest = create_guest(display_name=name)
        taken = _take(change, guest, invitation)
        return open_session(user=guest, user_agent=user_agent), taken


def _take(change: Change, user: User, invitation: Invitation) -> Taken:
    """Take an invitation that was read under the lock, by somebody who is not in the room."""
    require_not_banned(user, change.conversation)
    is_for = invitation.email.lower()
    if (is_for and is_for != user.email.lower()) or (user.is_guest and not invitation.guests):
        raise InvitationInvalid
    if invitation.approval:
        return Taken(change.conversation, None, _ask(change, user, invitation=invitation))
    member = _come_in(change, user, by=invitation.by, invitation=invitation)
    return Taken(change.conversation, member, None)


def _come_in(change: Change, user: User, *, by: User, invitation: Invitation | None) -> Member:
    """Join, and use the invitation up by one if there is one. Raises InvitationInvalid."""
    role: str = Member.Role.MEMBER
    if invitation is not None:
        maker = _present(change, invitation.by)
        if maker is None or not may("invite", maker.role, change.conversation):
            raise InvitationInvalid
        if not Invitation.objects.live().filter(pk=invitation.pk).update(uses=F("uses") + 1):
            raise InvitationInvalid
        role = Member.Role.GUEST if user.is_guest else invitation.role
    member = new_member(change=change, user=user, role=role, by=by, invitation=invitation)
    change.touch()
    return member


def _ask(
    change: Change, user: User, *, text: str = "", invitation: Invitation | None = None
) -> JoinRequest:
    """Store a request to be decided, or return the one that waits. Raises Banned."""
    require_not_banned(user, change.conversation)
    request, made = JoinRequest.objects.get_or_create(
        conversation=change.conversation,
        user=user,
        decided_at=None,
        defaults={"text": text, "invitation": invitation},
    )
    if made:
        deciding = Member.objects.present().filter(
            conversation=change.conversation, role__in=Member.MANAGERS
        )
        for member in deciding.select_related("user").order_by("joined_at")[:_MOST_TOLD]:
            if member.user is not None:
                notify_asked(request=request, manager=member.user)
    return request


def _present(change: Change, user: User) -> Member | None:
    present = Member.objects.present().select_related("user", "assistant")
    return present.filter(conversation=change.conversation, user=user).first()


def _require_listed(user: User, conversation: Conversation) -> None:
    if not listed_rooms(user).filter(pk=conversation.pk).exists():
        raise NotFound


def _manageable(change: Change, user: User, invitation_id: UUID) -> Invitation:
    member = change.member(user)
    invitation = (
        Invitation.objects.select_related("by")
        .filter(pk=invitation_id, conversation=change.conversation)
        .first()
    )
    own = invitation is not None and invitation.by_id == user.pk
    require("invite" if own else "invitations", member, change.conversation)
    if invitation is None:
        raise NotFound
    return invitation


def _revoke(invitation: Invitation) -> None:
    Invitation.objects.unrevoked().filter(pk=invitation.pk).update(revoked_at=timezone.now())


def _is_below(member: Member, acting: Member) -> bool:
    return RANKS[member.role] < RANKS[acting.role]


def _require_few_links(user: User) -> None:
    """Raise TooManyLinks after so many in an hour, however many at once are asked for."""
    locked(user)
    hour = timedelta(hours=1)
    made = Invitation.objects.filter(by=user, created_at__gt=timezone.now() - hour)
    last = list(made.order_by("-created_at").values_list("created_at", flat=True)[:LINKS_AN_HOUR])
    if len(last) == LINKS_AN_HOUR:
        raise TooManyLinks(retry_after=ceil((last[-1] + hour - timezone.now()).total_seconds()))


def _require_own_name(conversation: Conversation, name: str) -> None:
    """Raise Invalid if a guest's name is, or looks like, that of somebody in the room."""
    if looks_like_another(User(is_guest=True), conversation, name):
        raise Invalid("Somebody here has that name.", field="guest.name")
