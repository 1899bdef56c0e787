"""What staff may do to any conversation, from the admin: no membership is asked for.

Each act is in the audit log; `by` is None where nobody in particular acts.
"""

from uuid import UUID

from django.utils import timezone

from accounts.models import User
from chat.change import changing
from chat.models import Assistant, Member, Sanction
from chat.services.audit import record, record_member
from chat.services.conversations import retitle
from chat.services.members import end_membership, new_member
from chat.services.topic_rows import remove


def retitle_as_staff(*, conversation_id: UUID, title: str, by: User | None = None) -> None:
    """Give a conversation another title. Raises NotFound."""
    with changing(conversation_id) as change:
        if change.conversation.title != title:
            record(change.conversation, "title.changed", by=by, as_staff=True)
        retitle(change=change, title=title)


def add_member_as_staff(
    *,
    conversation_id: UUID,
    user: User | None = None,
    assistant: Assistant | None = None,
    role: str = Member.Role.MEMBER,
    by: User | None = None,
) -> Member:
    """Add a person or an assistant; that lifts a ban.

    Raises NotFound, Conflict if they are a member already.
    """
    with changing(conversation_id) as change:
        if user is not None:
            bans = Sanction.objects.live().filter(conversation=change.conversation, user=user)
            bans.update(lifted_at=timezone.now())
        member = new_member(change=change, user=user, assistant=assistant, role=role)
        record_member(change.conversation, "member.added", member, by=by, as_staff=True, role=role)
        change.touch()
    return member


def change_member_as_staff(
    *, member: Member, role: str, nickname: str, by: User | None = None
) -> None:
    """Change a member's role and nickname. Raises NotFound."""
    with changing(member.conversation_id) as change:
        current = change.member_with_id(member.pk)
        if current.role != role:
            roles = {"was": current.role, "now": role}
            record_member(
                change.conversation, "member.role", current, by=by, as_staff=True, **roles
            )
        current.role, current.nickname = role, nickname
        change.changed(current, "role", "nickname")


def remove_member_as_staff(*, member: Member, by: User | None = None) -> None:
    """Remove a member, whatever their role. Raises NotFound."""
    with changing(member.conversation_id) as change:
        current = change.member_with_id(member.pk)
        record_member(change.conversation, "member.removed", current, by=by, as_staff=True)
        end_membership(change=change, member=current)


def delete_conversation_as_staff(*, conversation_id: UUID, by: User | None = None) -> None:
    """Delete a conversation and all that was said in it. Raises NotFound."""
    with changing(conversation_id) as change:
        record(change.conversation, "conversation.deleted", by=by, as_staff=True)
        remove(change)
        change.delete()
