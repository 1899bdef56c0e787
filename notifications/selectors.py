"""Reads of the inbox: everyone sees their own notifications and nobody else's."""

from collections.abc import Iterable
from uuid import UUID

from accounts.models import User
from core.errors import NotFound
from notifications.models import Notification, NotificationQuerySet


def list_notifications(user: User, *, unread_only: bool = False) -> NotificationQuerySet:
    """Return a person's notifications, newest first."""
    notifications = Notification.objects.filter(recipient=user).select_related("content_type")
    return notifications.all_unread() if unread_only else notifications


def get_notification(user: User, notification_id: UUID) -> Notification:
    """Return one notification of `user`. Raises NotFound if it is someone else's or nobody's."""
    notification = list_notifications(user).filter(pk=notification_id).first()
    if notification is None:
        raise NotFound
    return notification


def missing_ids(user: User, ids: Iterable[UUID]) -> list[UUID]:
    """Return those of `ids` that are not notifications of `user`, in their order."""
    wanted = list(ids)
    found = set(
        Notification.objects.filter(recipient=user, pk__in=wanted).values_list("pk", flat=True)
    )
    return [one for one in wanted if one not in found]


def count_unread(user_id: UUID) -> int:
    """Return how many notifications a person has not read."""
    return Notification.objects.all_unread().filter(recipient=user_id).count()
