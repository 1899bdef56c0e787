"""Over HTTP: pins, former wordings, reports, silence, blocks, and the audit log."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from accounts.models import User
from chat.models import AuditEntry, Report, Revision
from chat.rest import bodies
from chat.rest.pagination import ByCreation, ByNewest, ByPinning, ByRewording, BySigningUp
from chat.selectors.blocks import blocks_of
from chat.selectors.moderation import (
    audit_of,
    pins_of,
    reports_for_staff,
    reports_of,
    revisions_of,
)
from chat.services.blocks import block
from chat.services.messages import delete_message
from chat.services.moderation import delete_messages_of, pin_message, silence_member
from chat.services.reports import report_message, resolve_report, resolve_report_as_staff
from chat.states import member_state, message_state, person_state
from core.rest import answer, parse
from core.schema import errors
from protocol.commands import MessageBody, Removal
from protocol.states import MemberState, PersonState


def _person(user: User | None) -> PersonState | None:
    return None if user is None else person_state(user)


def _revision(revision: Revision) -> bodies.RevisionBody:
    return bodies.RevisionBody(
        n=revision.n, content=revision.content, at=revision.at, by=_person(revision.by)
    )


def _report(report: Report) -> bodies.ReportBody:
    return bodies.ReportBody(**_reported(report))


def _report_for_staff(report: Report) -> bodies.StaffReportBody:
    return bodies.StaffReportBody(**_reported(report), reporter=person_state(report.reporter))


def _reported(report: Report) -> dict[str, Any]:
    return {
        "id": report.pk,
        "conversation": report.conversation_id,
        "message": message_state(report.message),
        "reason": report.reason,
        "note": report.note,
        "content": report.content,
        "created_at": report.created_at,
        "resolution": report.resolution,
    }


def _entry(entry: AuditEntry) -> bodies.AuditBody:
    return bodies.AuditBody(
        id=entry.pk,
        action=entry.action,
        actor=_person(entry.actor),
        person=_person(entry.person),
        message=entry.message_id,
        as_staff=entry.as_staff,
        reason=entry.reason,
        details=entry.details,
        created_at=entry.created_at,
    )


class PinView(APIView):
    """A message's pin."""

    @extend_schema(
        operation_id="pin_put",
        request=None,
        responses={200: MessageBody, **errors(401, 403, 404, 409)},
    )
    def put(self, request: Request, message_id: UUID) -> Response:
        """Pin a message in its room; again is once."""
        return self._pin(request, message_id, on=True)

    @extend_schema(
        operation_id="pin_delete",
        responses={200: MessageBody, **errors(401, 403, 404, 409)},
    )
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Take the pin away."""
        return self._pin(request, message_id, on=False)

    @staticmethod
    def _pin(request: Request, message_id: UUID, *, on: bool) -> Response:
        message = pin_message(user=person(request), message_id=message_id, on=on)
        return answer(MessageBody(message=message_state(message)))


class PinsView(APIView):
    """What is pinned in a room."""

    @extend_schema(
        operation_id="pins_list",
        parameters=ByPinning.parameters(),
        responses={200: bodies.PinPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List the pinned messages, the one pinned last first."""
        return ByPinning.answer(
            request, self, pins_of(person(request), conversation_id), message_state
        )


class RevisionsView(APIView):
    """What a message said before."""

    @extend_schema(
        operation_id="revisions_list",
        parameters=ByRewording.parameters(),
        responses={200: bodies.RevisionPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, message_id: UUID) -> Response:
        """List former wordings, for moderators or whom the room's `policy` says."""
        return ByRewording.answer(
            request, self, revisions_of(person(request), message_id), _revision
        )


class RemovalView(APIView):
    """Deleting a message and saying why."""

    @extend_schema(
        operation_id="messages_remove",
        request=Removal,
        responses={200: MessageBody, **errors(400, 401, 403, 404)},
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Delete a message, with a reason for the audit log: it does not belong in an address."""
        body = parse(Removal, request.data)
        message = delete_message(user=person(request), message_id=message_id, reason=body.reason)
        return answer(MessageBody(message=message_state(message)))


class MessagesOfView(APIView):
    """What a member said of late."""

    @extend_schema(
        operation_id="members_messages_remove",
        request=Removal,
        responses={200: bodies.DeletedBody, **errors(400, 401, 403, 404)},
    )
    def post(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Delete what somebody, who may have left, said here in the last 24 hours."""
        body = parse(Removal, request.data)
        deleted = delete_messages_of(
            user=person(request),
            conversation_id=conversation_id,
            member_id=member_id,
            reason=body.reason,
        )
        return answer(bodies.DeletedBody(deleted=deleted))


class SilenceView(APIView):
    """Whether a member may say something."""

    @extend_schema(
        operation_id="silence_put",
        request=bodies.Silence,
        responses={200: MemberState, **errors(400, 401, 403, 404)},
    )
    def put(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Let somebody say nothing here until then."""
        body = parse(bodies.Silence, request.data)
        member = silence_member(
            user=person(request),
            conversation_id=conversation_id,
            member_id=member_id,
            **body.model_dump(),
        )
        return answer(member_state(member))

    @extend_schema(
        operation_id="silence_delete",
        responses={200: MemberState, **errors(401, 403, 404)},
    )
    def delete(self, request: Request, conversation_id: UUID, member_id: UUID) -> Response:
        """Let them speak again."""
        member = silence_member(
            user=person(request), conversation_id=conversation_id, member_id=member_id, until=None
        )
        return answer(member_state(member))


class ReportMessageView(APIView):
    """A message that should not be there."""

    @extend_schema(
        operation_id="messages_report",
        request=bodies.NewReport,
        responses={
            201: bodies.ReportedBody,
            200: bodies.ReportedBody,
            **errors(400, 401, 404, 409),
        },
    )
    def post(self, request: Request, message_id: UUID) -> Response:
        """Tell those who keep order in the room. 200 if one had already."""
        body = parse(bodies.NewReport, request.data)
        report, made = report_message(
            user=person(request), message_id=message_id, **body.model_dump()
        )
        said = bodies.ReportedBody(
            id=report.pk,
            message=report.message_id,
            reason=report.reason,
            created_at=report.created_at,
        )
        return answer(said, 201 if made else 200)


class ReportsView(APIView):
    """What was reported in a room."""

    @extend_schema(
        operation_id="reports_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.ReportPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List what one is to decide about: never about oneself, or one's equal or better."""
        return ByCreation.answer(
            request, self, reports_of(person(request), conversation_id), _report
        )


class ReportView(APIView):
    """A report to decide about."""

    @extend_schema(
        operation_id="reports_resolve",
        request=bodies.Resolution,
        responses={200: bodies.ReportBody, **errors(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, conversation_id: UUID, report_id: UUID) -> Response:
        """Decide about a message, and so about all reports of it; 409 if somebody has."""
        body = parse(bodies.Resolution, request.data)
        report = resolve_report(
            user=person(request),
            conversation_id=conversation_id,
            report_id=report_id,
            **body.model_dump(),
        )
        return answer(_report(report))


class StaffReportsView(APIView):
    """What was reported and no moderator decides about."""

    @extend_schema(
        operation_id="staff_reports_list",
        parameters=ByCreation.parameters(),
        responses={200: bodies.StaffReportPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        """List, for staff, reports about moderators and from where there are none."""
        return ByCreation.answer(
            request, self, reports_for_staff(person(request)), _report_for_staff
        )


class StaffReportView(APIView):
    """A report for staff to decide about."""

    @extend_schema(
        operation_id="staff_reports_resolve",
        request=bodies.Resolution,
        responses={200: bodies.ReportBody, **errors(400, 401, 403, 404, 409)},
    )
    def patch(self, request: Request, report_id: UUID) -> Response:
        """Decide about a message, as staff."""
        body = parse(bodies.Resolution, request.data)
        report = resolve_report_as_staff(
            user=person(request), report_id=report_id, **body.model_dump()
        )
        return answer(_report(report))


class AuditView(APIView):
    """Who did what in a room."""

    @extend_schema(
        operation_id="audit_list",
        parameters=ByNewest.parameters(),
        responses={200: bodies.AuditPage, **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """List what was done, the newest first: for admins all of it, for moderators their own."""
        return ByNewest.answer(request, self, audit_of(person(request), conversation_id), _entry)


class BlocksView(APIView):
    """Whom one blocks."""

    @extend_schema(
        operation_id="blocks_list",
        parameters=BySigningUp.parameters(),
        responses={200: bodies.BlockedPage, **errors(400, 401, 404)},
    )
    def get(self, request: Request) -> Response:
        """List the people whom one blocks."""
        return BySigningUp.answer(request, self, blocks_of(person(request)), person_state)


class BlockView(APIView):
    """A person to block."""

    @extend_schema(
        operation_id="blocks_put",
        request=None,
        responses={200: bodies.BlocksBody, **errors(400, 401, 404, 409)},
    )
    def put(self, request: Request, user_id: UUID) -> Response:
        """Want nothing from somebody: they are not told."""
        blocks = block(user=person(request), person=user_id, on=True)
        return answer(bodies.BlocksBody(blocks=blocks))

    @extend_schema(
        operation_id="blocks_delete",
        responses={200: bodies.BlocksBody, **errors(400, 401, 404)},
    )
    def delete(self, request: Request, user_id: UUID) -> Response:
        """Take it back."""
        blocks = block(user=person(request), person=user_id, on=False)
        return answer(bodies.BlocksBody(blocks=blocks))
