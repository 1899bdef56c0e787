"""Notifications as clients see them, over HTTP and over the socket alike."""

from notifications.models import Notification
from protocol.states import NotificationState, ObjectState


def notification_state(notification: Notification) -> NotificationState:
    """Return one entry of an inbox."""
    about = None
    if notification.content_type and notification.object_id:
        about = ObjectState(type=notification.content_type.model, id=str(notification.object_id))
    return NotificationState(
        id=notification.pk,
        category=notification.category,
        action=notification.action,
        source=notification.source_id,
        source_display_name=notification.source_display_name,
        short_description=notification.short_description,
        url=notification.url,
        object=about,
        extra_data=notification.extra_data,
        is_read=notification.is_read,
        created_at=notification.create_date,
    )
