"""The inbox over HTTP."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import person
from core.rest import answer, parse, parse_query
from core.schema import errors, query_parameters
from notifications import selectors, services
from notifications.rest import bodies
from notifications.rest.pagination import InboxPages
from notifications.states import notification_state
from protocol.states import NotificationState


class NotificationListView(APIView):
    """The caller's notifications."""

    @extend_schema(
        operation_id="notifications_list",
        summary="List your notifications",
        parameters=[*InboxPages.parameters(), *query_parameters(bodies.ListQuery)],
        responses={200: bodies.NotificationPage, **errors(400, 401, 404)},
        tags=["notifications"],
    )
    def get(self, request: Request) -> Response:
        """List your notifications, newest first."""
        query = parse_query(bodies.ListQuery, request)
        inbox = selectors.list_notifications(person(request), unread_only=query.unread)
        return InboxPages.answer(request, self, inbox, notification_state)


class UnreadView(APIView):
    """How much is unread."""

    @extend_schema(
        operation_id="notifications_unread",
        summary="Count your unread notifications",
        responses={200: bodies.Unread, **errors(401)},
        tags=["notifications"],
    )
    def get(self, request: Request) -> Response:
        """Count your unread notifications."""
        return answer(bodies.Unread(unread=selectors.count_unread(person(request).pk)))


class MarkReadView(APIView):
    """Marking several."""

    @extend_schema(
        operation_id="notifications_read",
        summary="Mark some or all of your notifications read",
        request=bodies.MarkRead,
        responses={200: bodies.MarkedRead, **errors(400, 401, 404)},
        tags=["notifications"],
    )
    def post(self, request: Request) -> Response:
        """Mark notifications read: `ids`, all or none of them, or `all`."""
        body = parse(bodies.MarkRead, request.data)
        user = person(request)
        if body.all:
            read = services.mark_all_read(user=user)
        else:
            read = services.mark_many_read(user=user, ids=body.ids)
        return answer(bodies.MarkedRead(read=read, unread=selectors.count_unread(user.pk)))


class MarkOneReadView(APIView):
    """Marking one."""

    @extend_schema(
        operation_id="notification_read",
        summary="Mark one of your notifications read",
        request=None,
        responses={200: NotificationState, **errors(401, 404)},
        tags=["notifications"],
    )
    def post(self, request: Request, notification_id: UUID) -> Response:
        """Mark a notification read. Doing it again changes nothing."""
        row = services.mark_read(user=person(request), notification_id=notification_id)
        return answer(notification_state(row))
