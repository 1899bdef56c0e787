"""Channels: what a notification looks like to each way of delivering it.

A channel names its providers and builds a payload for each; the delivery backend stores and
sends them. Subclassing BaseNotificationChannel registers a channel under its `name`.
"""

import abc
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from django.core.mail.utils import DNS_NAME
from django.utils.functional import classproperty
from django.utils.module_loading import import_string

from notifications import NotificationError, default_settings
from notifications.models import Notification
from notifications.providers import BaseNotificationProvider
from notifications.states import notification_state


class BaseNotificationChannel(abc.ABC):
    """One way of delivering a notification. `context` is the caller's, never shown to users."""

    def __init__(
        self, notification: Notification, context: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.notification = notification
        self.context = context

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What callers of notify() call this channel."""

    @property
    @abc.abstractmethod
    def providers(self) -> Sequence[str]:
        """Names of the providers that each send it once."""

    @abc.abstractmethod
    def build_payload(self, provider: str) -> Any:
        """Return what `provider` sends: anything that is JSON."""

    @classproperty
    def registered_channels(cls) -> dict[str, str]:  # noqa: N805 - the class is what it gets
        """Dotted paths of the registered channels by name."""
        return {
            str(found.name): f"{found.__module__}.{found.__qualname__}"
            for found in BaseNotificationChannel.__subclasses__()
        }

    @property
    def provider_paths(self) -> dict[str, str]:
        """Dotted paths of this channel's providers. Raises KeyError for one not registered."""
        registered: dict[str, str] = BaseNotificationProvider.providers
        for name in self.providers:
            if name not in registered:
                raise KeyError(
                    f"{name!r} is not a notification provider; there are {sorted(registered)}."
                )
        return {name: registered[name] for name in self.providers}

    def get_context(self, provider: str) -> Mapping[str, Any]:
        """Return what `provider` is told besides the payload."""
        return self.context

    def get_delivery_backend(self) -> Any:
        """Return the class that carries deliveries out."""
        return import_string(default_settings.NOTIFICATIONS_DELIVERY_BACKEND)

    def notify(self, countdown: float = 0) -> None:
        """Hand the delivery to the backend, to be sent in `countdown` seconds at the earliest."""
        self.get_delivery_backend()(self).run(countdown)


class ConsoleNotificationChannel(BaseNotificationChannel):
    """Standard output; for development."""

    name = "console"
    providers = ("console",)

    def build_payload(self, provider: str) -> Any:
        """Return the notification and the caller's context."""
        return {"context": dict(self.context), "payload": self.notification.to_json()}


class WebSocketNotificationChannel(BaseNotificationChannel):
    """The recipient's open sockets.

    As with django-notifs, a context with `destination` (and `channel_layer`) sends the context's
    `message` to a group of one's own consumers instead.
    """

    name = "websocket"
    providers = ("django_channels",)

    def build_payload(self, provider: str) -> Any:
        """Return the notification's state, or the layer message for a destination."""
        if "destination" not in self.context:
            return notification_state(self.notification).model_dump(mode="json")
        return {
            "type": default_settings.NOTIFICATIONS_WEBSOCKET_EVENT_NAME,
            "message": json.dumps(self.context["message"]),
        }

    def get_context(self, provider: str) -> Mapping[str, Any]:
        """Return the context with the recipient's id. Raises NotificationError without any."""
        if "destination" in self.context:
            return self.context
        if self.notification.recipient_id is None:
            raise NotificationError("The websocket channel needs a recipient or a destination.")
        return {**self.context, "recipient": str(self.notification.recipient_id)}


# django-notifs' name for it.
DjangoWebSocketChannel = WebSocketNotificationChannel


class EmailNotificationChannel(BaseNotificationChannel):
    """The recipient's e-mail address; who has none gets none.

    At least once: a worker killed between the mail server's acceptance and our note of it sends
    again. The Message-ID is the notification's, so mailboxes that drop repeats show it once.
    """

    name = "email"
    providers = ("email",)

    def build_payload(self, provider: str) -> Any:
        """Return the attributes of a plain-text message."""
        notification = self.notification
        assert notification.recipient is not None
        # A line break in a header would start another header.
        subject = " ".join(notification.short_description.split())
        return {
            "subject": subject,
            "body": "\n\n".join(
                part for part in (notification.short_description, notification.url) if part
            ),
            "to": [notification.recipient.email],
            "extra_headers": {"Message-ID": f"<{notification.pk}@{DNS_NAME}>"},
        }

    def notify(self, countdown: float = 0) -> None:
        """Hand the delivery to the backend, if there is an address."""
        if self.notification.recipient is not None and self.notification.recipient.email:
            super().notify(countdown)
