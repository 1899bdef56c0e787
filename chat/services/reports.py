"""Reporting a message, and deciding about it."""

from contextlib import nullcontext
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from chat.change import Change, changing
from chat.models import Conversation, Member, Message, Report, ReportQuerySet
from chat.permissions import require, require_above, require_role
from chat.selectors.messages import visible_message
from chat.selectors.moderation import decides_about, deciding_membership
from chat.services.audit import record
from chat.services.members import ban
from chat.services.messages import delete_in, record_deletion
from chat.services.moderation import silence
from chat.services.notices import notify_reported
from core.errors import Conflict, Invalid, NotAllowed, NotFound

_MOST_TOLD: Final = 20  # moderators who are notified of a report
_Resolution = Report.Resolution


def report_message(
    *, user: User, message_id: UUID, reason: str, note: str = ""
) -> tuple[Report, bool]:
    """Tell those who keep order of a message; return the report, and whether it is new.

    It goes to the room's moderators, and to staff if one of them wrote it or there are none.
    Reporting again changes nothing. Raises NotFound, Invalid for one's own message, Conflict for
    one that was deleted.
    """
    message = visible_message(user, message_id)
    if message.author_user_id == user.pk:
        raise Invalid("Nobody reports their own messages; delete it.", field="message")
    room = deciding_membership(user, message.conversation_id).conversation
    written = Member.objects.present().filter(conversation=room)
    author = written.filter(user=message.author_user_id, user__isnull=False)
    role = author.values_list("role", flat=True).first() or ""
    with transaction.atomic():
        report, made = Report.objects.get_or_create(
            message=message,
            reporter=user,
            defaults={
                "conversation_id": message.conversation_id,
                "room": room,
                "reason": reason,
                "note": note,
                "content": message.content,
                "author_role": role,
                "for_staff": role in Member.MANAGERS or room.kind in Conversation.CLOSED,
            },
        )
        if made:
            if message.deleted_at is not None:
                raise Conflict("This message was deleted.")
            _tell(report, room)
    return report, made


def _tell(report: Report, room: Conversation) -> None:
    managers = Member.objects.present().filter(
        conversation=room, role__in=Member.MANAGERS, user__is_active=True
    )
    deciding = [
        member
        for member in managers.select_related("user").order_by("joined_at")
        if decides_about(report, member) and member.user_id != report.reporter_id
    ]
    for member in deciding[:_MOST_TOLD]:
        if member.user is not None:
            notify_reported(report=report, manager=member.user)


def resolve_report(
    *,
    user: User,
    conversation_id: UUID,
    report_id: UUID,
    resolution: str,
    reason: str = "",
    until: datetime | None = None,
) -> Report:
    """Decide about a message that was reported, with all reports of it; its author is not told who.

    `dismissed` leaves it as it is; `deleted` deletes it; so do `silenced` and `banned`, which also
    act on its author, until then. Raises NotFound, NotAllowed, Invalid, Conflict if it was
    decided already or its author is not here.
    """
    waiting = Report.objects.filter(pk=report_id, room=conversation_id)
    with changing(_place(waiting, user, conversation_id)) as change:
        acting = change.member(user)
        require("reports", acting, change.room)
        report = _report(report_id)
        if not decides_about(report, acting):
            raise NotFound
        return _resolve(change, report, user, acting, resolution, reason=reason, until=until)


def resolve_report_as_staff(
    *,
    user: User,
    report_id: UUID,
    resolution: str,
    reason: str = "",
    until: datetime | None = None,
) -> Report:
    """Do the same as staff, for reports that go to them. Raises as `resolve_report` does."""
    if not user.is_staff:
        raise NotAllowed
    found = Report.objects.filter(pk=report_id, for_staff=True)
    place = found.values_list("conversation", flat=True).first()
    if place is None:
        raise NotFound
    with changing(place) as change:
        report = _report(report_id)
        return _resolve(change, report, user, None, resolution, reason=reason, until=until)


def _place(reports: ReportQuerySet, user: User, conversation_id: UUID) -> UUID:
    """Where a reported message is: what is locked to decide. Raises NotFound."""
    place = reports.values_list("conversation", flat=True).first()
    if place is None:
        # A stranger is told the same, but one who may not decide is told that.
        member = deciding_membership(user, conversation_id)
        require("reports", member, member.conversation)
        raise NotFound
    return place


def _report(report_id: UUID) -> Report:
    reports = Report.objects.select_related("message__author_user", "message__author_assistant")
    report = reports.filter(pk=report_id).first()
    if report is None:
        raise NotFound
    return report


def _resolve(
    change: Change,
    report: Report,
    user: User,
    acting: Member | None,
    resolution: str,
    *,
    reason: str,
    until: datetime | None,
) -> Report:
    """Decide under the lock; `acting` is None for staff."""
    if report.resolved_at is not None:
        raise Conflict("This was decided already.")
    as_staff = acting is None
    message = report.message
    if resolution in (_Resolution.SILENCED, _Resolution.BANNED):
        # Who is in it is the room's, which is locked after what is inside of it.
        with (
            changing(change.room.pk)
            if change.room.pk != change.conversation.pk
            else (nullcontext(change)) as in_room
        ):
            act = _silence if resolution == _Resolution.SILENCED else _ban
            act(in_room, message, user, acting, reason, until)
    if resolution != _Resolution.DISMISSED and message.deleted_at is None:
        if acting is not None:
            require_role("delete_others", acting.role, change.room)
        delete_in(change=change, message=message, by=user)
        record_deletion(change=change, message=message, by=user, reason=reason, as_staff=as_staff)
    Report.objects.waiting().filter(message=message).update(
        resolved_at=timezone.now(), resolved_by=user, resolution=resolution
    )
    record(
        change.room,
        "report.resolved",
        by=user,
        person=message.author_user_id,
        message=message,
        as_staff=as_staff,
        reason=reason,
        resolution=resolution,
    )
    report.refresh_from_db()
    return report


def _silence(
    change: Change,
    message: Message,
    user: User,
    acting: Member | None,
    reason: str,
    until: datetime | None,
) -> None:
    if until is None:
        raise Invalid("Say until when.", field="until")
    member = _author(change, message)
    if member is None:
        raise Conflict("Whoever wrote it is not here.")
    if acting is not None:
        require_above("silence", acting, change.room, member.role)
    silence(
        change=change, member=member, by=user, until=until, reason=reason, as_staff=acting is None
    )


def _ban(
    change: Change,
    message: Message,
    user: User,
    acting: Member | None,
    reason: str,
    until: datetime | None,
) -> None:
    if message.author_user is None:
        raise Invalid("Only people are banned.", field="resolution")
    if acting is not None:
        member = _author(change, message)
        require_above("ban", acting, change.room, member.role if member else Member.Role.GUEST)
    ban(
        change=change,
        person=message.author_user,
        by=user,
        until=until,
        reason=reason,
        as_staff=acting is None,
    )


def _author(change: Change, message: Message) -> Member | None:
    present = Member.objects.present().select_related("user", "assistant")
    return present.filter(
        conversation=change.conversation, user=message.author_user_id, user__isnull=False
    ).first()
