"""django-notifs' entry points, for its users: `from notifications.utils import notify, read`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.utils.functional import classproperty

from accounts.models import User
from notifications import NotificationError, services
from notifications.models import Notification

__all__ = ["classproperty", "get_notification_model", "notify", "read"]


def notify(
    silent: bool = False,
    countdown: float = 0,
    extra_data: Mapping[str, Any] = MappingProxyType({}),
    **kwargs: Any,
) -> None:
    """Store a notification, unless it is silent, and deliver it through its `channels`.

    `kwargs` are fields of Notification. `extra_data["context"]` goes to the channels; unlike
    django-notifs, it is neither kept with the notification nor taken out of the caller's dict.
    `countdown` is in seconds. Everything is in the caller's transaction.
    Raises AttributeError for an unknown channel, Invalid for unacceptable values.
    """
    context = extra_data.get("context", {})
    kept = {key: value for key, value in extra_data.items() if key != "context"}
    notification = get_notification_model()(**kwargs, extra_data=kept)
    services.send_notification(notification, context=context, silent=silent, countdown=countdown)


def read(notify_id: UUID | str, recipient: User) -> None:
    """Mark a notification read and tell the recipient's other clients.

    Raises NotificationError if it is someone else's, Notification.DoesNotExist if nobody's.
    """
    notification = get_notification_model().objects.get(pk=notify_id)
    if notification.recipient_id != recipient.pk:
        raise NotificationError("You cannot read this notification.")
    services.mark_read(user=recipient, notification_id=notification.pk)


def get_notification_model() -> type[Notification]:
    """Return the model; unlike django-notifs' it is fixed, since deliveries refer to its table."""
    return Notification
