"""Reads of the inbox: everyone sees their own notifications and nobody else's."""

from collections.abc import Iterable
from uuid import UUID

from django.contrib.contenttypes.models import ContentType
from django.db import connection

from accounts.models import User
from core.columns import Columns
from core.errors import NotFound
from notifications.models import Notification, NotificationQuerySet

_NOTIFICATION = Columns(Notification, "n")
_NEWEST = f"""
SELECT {_NOTIFICATION} FROM notifications_notification n
WHERE n.recipient_id = %s ORDER BY n.id DESC LIMIT %s
"""  # noqa: S608 - nothing but the names of columns


def list_notifications(user: User, *, unread_only: bool = False) -> NotificationQuerySet:
    """Return a person's notifications, newest first."""
    notifications = Notification.objects.filter(recipient=user).select_related("content_type")
    return notifications.all_unread() if unread_only else notifications


def newest_notifications(user_id: UUID, count: int) -> list[Notification]:
    """Return the newest of a person's notifications: what an application begins with."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [user_id, count])
        found = [_NOTIFICATION.read(row) for row in cursor.fetchall()]
    for notification in found:
        if notification.content_type_id is not None:
            # Known to the process after the first.
            kind = ContentType.objects.get_for_id(notification.content_type_id)
            notification.content_type = kind
    return found


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
