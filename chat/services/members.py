"""Joining, leaving and roles."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts.models import User
from accounts.selectors import present_ids
from chat.change import Change, changing
from chat.errors import Banned
from chat.models import (
    Assistant,
    Conversation,
    Invitation,
    JoinRequest,
    Member,
    MemberQuerySet,
    Sanction,
)
from chat.permissions import require, require_above
from chat.selectors.blocks import who_block
from chat.services.audit import record, record_member
from chat.services.notices import notify_added
from core.errors import Conflict, Invalid, NotFound
from core.jobs import enqueue_named
from core.lookalikes import looks

HAND_OVER_TASK = "chat.hand_over_rooms"


def new_member(
    *,
    change: Change,
    user: User | None = None,
    assistant: Assistant | None = None,
    role: str = Member.Role.MEMBER,
    by: User | None = None,
    invitation: Invitation | None = None,
) -> Member:
    """Add a person or an assistant to a locked conversation, or bring back one who left.

    Raises Conflict if they are a member already, Banned if they may not come in.
    """
    conversation = change.conversation
    if user is not None:
        require_not_banned(user, conversation)
    member = Member.objects.filter(
        conversation=conversation, user=user, assistant=assistant
    ).first() or Member(conversation=conversation, user=user, assistant=assistant)
    if not member._state.adding and member.left_at is None:  # noqa: SLF001
        raise Conflict("They are a member already.")
    member.role = role
    member.invited_by, member.invitation = by, invitation
    member.left_at = None
    if user is not None and looks_like_another(user, conversation, user.display_name):
        # A guest under a name that is somebody's here.
        member.nickname = f"{user.name[:70]} (guest)"
    member.joined_at = timezone.now()
    change.created(member)
    return member


def looks_like_another(user: User, conversation: Conversation, name: str) -> bool:
    """Say whether a guest's name is, or looks like, that of somebody else in a conversation."""
    if not user.is_guest or not looks(name):
        return False
    present = Member.objects.present().people().filter(conversation=conversation)
    others = present.exclude(user=user)
    taken = others.values_list("nickname", "user__display_name", "user__username")
    look = looks(name)
    return any(look == looks(one) for names in taken for one in names if one)


def require_own_names(*, user: User) -> None:
    """Raise Invalid if a guest's name looks like that of somebody in one of their rooms."""
    own = Member.objects.present().filter(user=user).select_related("conversation")
    if any(looks_like_another(user, one.conversation, user.display_name) for one in own):
        raise Invalid("Somebody in one of your rooms has that name.", field="display_name")


def require_not_banned(user: User, conversation: Conversation) -> None:
    """Raise Banned if a person may not come into a conversation."""
    if Sanction.objects.live().filter(conversation=conversation, user=user).exists():
        raise Banned


def add_assistant(*, user: User, conversation_id: UUID, slug: str) -> Member:
    """Bring an assistant into a room.

    Raises NotFound, NotAllowed, Invalid for an unknown one or for a conversation with an assistant
    or a direct one, Conflict if it is a member already.
    """
    with changing(conversation_id) as change:
        require("assistants", change.member(user), change.conversation)
        if change.conversation.kind in Conversation.CLOSED:
            raise Invalid("Nobody can be added to it; open a group.", field="assistant")
        added = Assistant.objects.active().filter(slug=slug).first()
        if added is None:
            raise Invalid("There is no such assistant.", field="assistant")
        member = new_member(change=change, assistant=added, by=user)
        change.touch()
    return member


def add_member(*, user: User, conversation_id: UUID, person: UUID) -> Member:
    """Add a person to a group or forum.

    Raises NotFound, NotAllowed, Invalid for an unknown person or for a
    conversation that nobody is added to, Banned, Conflict if they are a member already.
    """
    with changing(conversation_id) as change:
        require("add", change.member(user), change.conversation)
        if change.conversation.kind in Conversation.CLOSED:
            raise Invalid("Nobody can be added to it; open a group.", field="user")
        added = User.people.active().filter(pk__in=present_ids([person])).first()
        # Who blocks the one who asks is as one who does not exist: they are not told.
        if added is None or who_block(user.pk, [added.pk]):
            raise Invalid("There is no such person.", field="user")
        member = new_member(change=change, user=added, by=user)
        notify_added(conversation=change.conversation, member=member, by=user)
        change.touch()
    return member


def remove_member(*, user: User, conversation_id: UUID, member_id: UUID) -> Member:
    """Remove a member, or leave. Their open sockets stop following at once.

    The last owner who leaves makes the oldest admin the next one. Raises NotFound, NotAllowed for
    removing someone not below one's own rank, Conflict for a last owner with no admin to follow.
    """
    with changing(conversation_id) as change:
        acting = change.member(user)
        member = change.member_with_id(member_id)
        if member.pk == acting.pk:
            if not _has_another_owner(member) and _heir(member, [Member.Role.ADMIN]) is None:
                _require_another_owner(member)
        else:
            if member.assistant_id is not None:
                require("assistants", acting, change.conversation)
            require_above("remove", acting, change.conversation, member.role)
            record_member(change.conversation, "member.removed", member, by=user)
        end_membership(change=change, member=member)
    return member


def end_membership(*, change: Change, member: Member) -> None:
    """End a membership of a locked conversation, and the links its member made to it.

    The member's sockets stop following at once. The last owner is followed by another.
    """
    if member.user_id is not None:
        made = Invitation.objects.unrevoked().filter(
            conversation=change.conversation, by=member.user_id
        )
        made.update(revoked_at=timezone.now())
        _hand_over(change, member)
    member.left_at = timezone.now()
    change.changed(member, "left_at")
    change.touch()


def _require_another_owner(leaving: Member) -> None:
    others = _people_beside(leaving)
    if not _has_another_owner(leaving) and others.exists():
        raise Conflict("Make someone else an owner before you leave.")


def _has_another_owner(leaving: Member) -> bool:
    """Say whether a conversation has an owner without this member, if they are one at all."""
    if leaving.role != Member.Role.OWNER:
        return True
    return _people_beside(leaving).filter(role=Member.Role.OWNER, user__is_active=True).exists()


def _people_beside(member: Member) -> MemberQuerySet:
    present = Member.objects.present().people().filter(conversation=member.conversation_id)
    return present.exclude(pk=member.pk)


def _heir(leaving: Member, roles: Sequence[str]) -> Member | None:
    """Who becomes the owner: of the first of these roles that somebody has, the oldest member."""
    able = _people_beside(leaving).select_related("user").filter(user__is_active=True)
    for role in roles:
        oldest = able.filter(role=role).order_by("joined_at", "pk").first()
        if oldest is not None:
            return oldest
    return None


def _hand_over(change: Change, leaving: Member) -> None:
    """Make somebody the owner in place of the last one, who leaves or is locked out."""
    if _has_another_owner(leaving):
        return
    heir = _heir(leaving, [Member.Role.ADMIN, Member.Role.MODERATOR, Member.Role.MEMBER])
    if heir is not None:
        heir.role = Member.Role.OWNER
        change.changed(heir, "role")


def hand_over_later(*, user_id: UUID) -> None:
    """Have the rooms of somebody who is locked out handed over, once that is committed."""
    enqueue_named(HAND_OVER_TASK, user_id=str(user_id))


def hand_over_rooms(*, user_id: UUID) -> None:
    """Give each room whose last owner cannot sign in any more another one; twice is once."""
    owned = Member.objects.present().filter(user=user_id, role=Member.Role.OWNER)
    for conversation in owned.values_list("conversation", flat=True):
        try:
            with changing(conversation) as change:
                member = owned.filter(conversation=conversation).first()
                if member is not None:
                    _hand_over(change, member)
        except NotFound:
            continue  # It was deleted meanwhile.


def change_member(
    *,
    user: User,
    conversation_id: UUID,
    member_id: UUID,
    role: str | None = None,
    nickname: str | None = None,
    hears: str | None = None,
    reads: str | None = None,
) -> Member:
    """Change a member's role (owners, and admins below themselves) or nickname (also one's own).

    Of an assistant also what it `hears` and `reads`. Raises NotFound, NotAllowed, Invalid for what
    only people or only assistants have, or Conflict if the last owner would step down.
    """
    with changing(conversation_id) as change:
        acting = change.member(user)
        member = change.member_with_id(member_id)
        own = member.pk == acting.pk
        if role is not None and role != member.role:
            _require_role_given(acting, member, role, change.conversation)
            if member.assistant is not None:
                raise Invalid("An assistant has no role to change.", field="role")
            if own:
                _require_another_owner(member)
            roles: dict[str, Any] = {"was": member.role, "now": role}
            record_member(change.conversation, "member.role", member, by=user, **roles)
            member.role = role
        if nickname is not None and nickname != member.nickname:
            if not own:
                require("nicknames", acting, change.conversation)
            elif looks_like_another(user, change.conversation, nickname):
                raise Invalid("Somebody here has that name.", field="nickname")
            member.nickname = nickname
        if hears is not None or reads is not None:
            require("assistants", acting, change.conversation)
            if member.assistant is None:
                raise Invalid("Only of an assistant it is said what it hears.", field="hears")
            member.hears, member.reads = hears or member.hears, reads or member.reads
        change.changed(member, "role", "nickname", "hears", "reads")
    return member


def _require_role_given(
    acting: Member, member: Member, role: str, conversation: Conversation
) -> None:
    """An owner gives every role, to other owners too; who else may, below their own rank."""
    require_above("roles", acting, conversation, member.role, role, equals=True)


def ban_member(
    *,
    user: User,
    conversation_id: UUID,
    member_id: UUID,
    until: datetime | None = None,
    reason: str = "",
) -> Sanction:
    """Remove a person, and let nobody bring them back before `until` (None: ever).

    Raises NotFound, NotAllowed for someone not below one's own rank, Invalid for an assistant.
    """
    with changing(conversation_id) as change:
        acting = change.member(user)
        member = change.member_with_id(member_id)
        require_above("ban", acting, change.conversation, member.role)
        if member.user is None:
            raise Invalid("Only people are banned; remove an assistant.", field="member")
        return ban(change=change, person=member.user, by=user, until=until, reason=reason)


def ban(
    *,
    change: Change,
    person: User,
    by: User,
    until: datetime | None = None,
    reason: str = "",
    as_staff: bool = False,
) -> Sanction:
    """Do what `ban_member` does, in the caller's change, also to one who has left."""
    sanction = Sanction.objects.create(
        conversation=change.conversation, user=person, by=by, until=until, reason=reason
    )
    asked = JoinRequest.objects.filter(conversation=change.conversation, user=person)
    asked.filter(decided_at=None).update(decided_at=timezone.now(), decided_by=by, accepted=False)
    present = Member.objects.present().select_related("user", "assistant")
    member = present.filter(conversation=change.conversation, user=person).first()
    if member is not None:
        end_membership(change=change, member=member)
    details: dict[str, Any] = {} if until is None else {"until": until.isoformat()}
    record(
        change.conversation,
        "member.banned",
        by=by,
        person=person.pk,
        as_staff=as_staff,
        reason=reason,
        **details,
    )
    return sanction


def lift_ban(*, user: User, conversation_id: UUID, ban_id: UUID) -> None:
    """Let someone who was banned come in again. Raises NotFound or NotAllowed."""
    with changing(conversation_id) as change:
        require("ban", change.member(user), change.conversation)
        bans = Sanction.objects.filter(pk=ban_id, conversation=change.conversation, lifted_at=None)
        person = bans.values_list("user", flat=True).first()
        if person is None or not bans.update(lifted_at=timezone.now()):
            raise NotFound
        record(change.conversation, "member.unbanned", by=user, person=person)
