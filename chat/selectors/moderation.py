"""Pins, former wordings, reports and the audit log, as far as the one who asks may see them."""

from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import User
from chat.models import AuditEntry, Member, Message, MessageQuerySet, Report, Revision
from chat.permissions import RANKS, may, require
from chat.selectors.conversations import readable_after
from chat.selectors.messages import visible_message
from core.errors import NotAllowed, NotFound


def deciding_membership(user: User, conversation_id: UUID) -> Member:
    """Return the present membership that lets a person in, with its room. Raises NotFound."""
    present = Member.objects.present().deciding(conversation_id).select_related("conversation")
    member = present.filter(user=user).first()
    if member is None:
        raise NotFound
    return member


def pins_of(user: User, conversation_id: UUID) -> MessageQuerySet:
    """The pinned messages of a room, as far as the person may read. Raises NotFound."""
    return Message.objects.with_authors().filter(
        conversation=conversation_id,
        pinned_at__isnull=False,
        created_seq__gt=readable_after(user.pk, conversation_id),
    )


def revisions_of(user: User, message_id: UUID) -> QuerySet[Revision]:
    """What a message said before. Raises NotFound or NotAllowed.

    What was deleted is seen by those who may delete, whoever sees other wordings.
    """
    message = visible_message(user, message_id)
    member = deciding_membership(user, message.conversation_id)
    require("revisions", member, member.conversation)
    if message.deleted_at is not None:
        require("delete_others", member, member.conversation)
    return Revision.objects.select_related("by").filter(message=message)


def reports_of(user: User, conversation_id: UUID) -> QuerySet[Report]:
    """The reports that a moderator of a room is to decide about. Raises NotFound or NotAllowed."""
    member = deciding_membership(user, conversation_id)
    require("reports", member, member.conversation)
    reports = _with_messages().filter(room=member.conversation)
    return reports.filter(Q(for_staff=False) | Q(author_role__in=_managers_below(member))).exclude(
        message__author_user=user
    )


def reports_for_staff(user: User) -> QuerySet[Report]:
    """The reports that no moderator decides about, of all rooms. Raises NotAllowed."""
    if not user.is_staff:
        raise NotAllowed
    return _with_messages().select_related("reporter").filter(for_staff=True)


def _with_messages() -> QuerySet[Report]:
    return Report.objects.waiting().select_related(
        "message__author_user", "message__author_assistant"
    )


def _managers_below(member: Member) -> list[str]:
    return [str(role) for role in Member.MANAGERS if RANKS[role] < RANKS[member.role]]


def decides_about(report: Report, member: Member) -> bool:
    """Say whether a report is one that this moderator decides about: never about themselves."""
    if report.message.author_user_id == member.user_id:
        return False
    return not report.for_staff or report.author_role in _managers_below(member)


def audit_of(user: User, conversation_id: UUID) -> QuerySet[AuditEntry]:
    """Who did what in a room: all of it, or for moderators what they did. As `reports_of`."""
    member = deciding_membership(user, conversation_id)
    require("audit", member, member.conversation)
    entries = AuditEntry.objects.select_related("actor", "person")
    entries = entries.filter(conversation=member.conversation)
    if not may("govern", member.role, member.conversation):
        entries = entries.filter(actor=user)
    return entries
