"""Providers: the last step of a delivery, which hands a payload to the outside world.

A provider raises NotificationError when sending can never succeed; any other exception means
that a later attempt may.
"""

import abc
import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.functional import classproperty

from core.publishing import publish_message, publish_now, to_user
from notifications import NotificationError, selectors
from protocol.events import NotificationCreated

# Seconds a mail server may take per network operation, unless EMAIL_TIMEOUT says otherwise.
EMAIL_TIMEOUT = 10


class BaseNotificationProvider(abc.ABC):
    """Sends payloads that a channel built. Subclassing it registers it under its `name`."""

    # Whether sending waits for another machine than the database's.
    slow: ClassVar[bool] = True

    def __init__(self, context: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.context = context

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What channels call this provider."""

    @classproperty
    def providers(cls) -> dict[str, str]:  # noqa: N805 - the class is what it gets
        """Dotted paths of the registered providers by name."""
        return {
            str(found.name): f"{found.__module__}.{found.__qualname__}"
            for found in BaseNotificationProvider.__subclasses__()
        }

    @abc.abstractmethod
    def send(self, payload: Any) -> None:
        """Send one payload."""

    def send_bulk(self, payloads: Iterable[Any]) -> None:
        """Send several payloads; chosen by a true `bulk` in the context."""
        for payload in payloads:
            self.send(payload)


class ConsoleNotificationProvider(BaseNotificationProvider):
    """Writes to standard output; for development."""

    name = "console"
    slow = False

    def send(self, payload: Any) -> None:
        """Write the payload as one line."""
        sys.stdout.write(f"{payload}\n")


class DjangoChannelsNotificationProvider(BaseNotificationProvider):
    """Sends over the channel layer: to a person's sockets, or to a destination of one's own."""

    name = "django_channels"
    slow = False

    def send(self, payload: Any) -> None:
        """Send the payload to the context's `destination`, or as a frame to its `recipient`.

        Sending twice is harmless: a frame carries the notification's id and whole state.
        """
        if "destination" in self.context:
            publish_message(
                self.context["destination"],
                payload,
                alias=self.context.get("channel_layer", "default"),
            )
            return
        recipient = UUID(self.context["recipient"])
        # Counted now: others may have come or been read since the notification was stored.
        unread = selectors.count_unread(recipient)
        publish_now(to_user(recipient, NotificationCreated(notification=payload, unread=unread)))


class EmailNotificationProvider(BaseNotificationProvider):
    """Sends e-mail; a payload holds attributes of Django's EmailMessage."""

    name = "email"

    def send(self, payload: Any) -> None:
        """Send one message. Raises NotificationError for an attribute that mails do not have."""
        _email(payload, _mail_server()).send()

    def send_bulk(self, payloads: Iterable[Any]) -> None:
        """Send several messages over one connection."""
        server = _mail_server()
        server.send_messages([_email(payload, server) for payload in payloads])


def _mail_server() -> BaseEmailBackend:
    server: BaseEmailBackend = get_connection(timeout=settings.EMAIL_TIMEOUT or EMAIL_TIMEOUT)
    return server


def _email(payload: Mapping[str, Any], server: BaseEmailBackend) -> EmailMessage:
    message = EmailMessage(connection=server)
    for attribute, value in payload.items():
        if not hasattr(message, attribute):
            raise NotificationError(f"An e-mail has no {attribute!r}.")
        setattr(message, attribute, value)
    return message
