"""The inbox over HTTP."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.schema import errors
from notifications import selectors, services
from notifications.models import Notification, NotificationQuerySet
from notifications.rest.bodies import (
    ListQuerySerializer,
    MarkedReadSerializer,
    MarkReadSerializer,
    NotificationSerializer,
    UnreadSerializer,
)
from notifications.rest.pagination import InboxPagination


def _person(request: Request) -> User:
    assert isinstance(request.user, User)
    return request.user


class NotificationListView(ListAPIView[Notification]):
    """The caller's notifications, newest first."""

    queryset = Notification.objects.none()  # names the model for the schema
    serializer_class = NotificationSerializer
    pagination_class = InboxPagination

    def get_queryset(self) -> NotificationQuerySet:
        """Return what the caller may see, narrowed by the query."""
        query = ListQuerySerializer(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return selectors.list_notifications(
            _person(self.request), unread_only=query.validated_data["unread"]
        )

    @extend_schema(
        operation_id="notifications_list",
        summary="List your notifications",
        parameters=[ListQuerySerializer],
        responses={200: NotificationSerializer(many=True), **errors(400, 401, 404)},
        tags=["notifications"],
    )
    def get(self, request: Request) -> Response:
        """List your notifications, newest first."""
        return self.list(request)


class UnreadView(APIView):
    """How much is unread."""

    @extend_schema(
        operation_id="notifications_unread",
        summary="Count your unread notifications",
        responses={200: UnreadSerializer, **errors(401)},
        tags=["notifications"],
    )
    def get(self, request: Request) -> Response:
        """Count your unread notifications."""
        return Response({"unread": selectors.count_unread(_person(request).pk)})


class MarkReadView(APIView):
    """Marking several."""

    @extend_schema(
        operation_id="notifications_read",
        summary="Mark some or all of your notifications read",
        request=MarkReadSerializer,
        responses={200: MarkedReadSerializer, **errors(400, 401, 404)},
        tags=["notifications"],
    )
    def post(self, request: Request) -> Response:
        """Mark notifications read: `ids`, all or none of them, or `all`."""
        body = MarkReadSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = _person(request)
        if "ids" in body.validated_data:
            read = services.mark_many_read(user=user, ids=body.validated_data["ids"])
        else:
            read = services.mark_all_read(user=user)
        return Response({"read": read, "unread": selectors.count_unread(user.pk)})


class MarkOneReadView(APIView):
    """Marking one."""

    @extend_schema(
        operation_id="notification_read",
        summary="Mark one of your notifications read",
        request=None,
        responses={200: NotificationSerializer, **errors(401, 404)},
        tags=["notifications"],
    )
    def post(self, request: Request, notification_id: UUID) -> Response:
        """Mark a notification read. Doing it again changes nothing."""
        notification = services.mark_read(user=_person(request), notification_id=notification_id)
        return Response(NotificationSerializer(notification).data)
