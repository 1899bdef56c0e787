"""What every delivery backend does: make a channel's deliveries, and carry one out."""

import abc
from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import import_string

from notifications.channels import BaseNotificationChannel
from notifications.providers import BaseNotificationProvider


class BaseBackend(abc.ABC):
    """Produces a channel's deliveries now, and consumes them when they are due."""

    def __init__(self, notification_channel: BaseNotificationChannel) -> None:
        self.notification_channel = notification_channel

    @staticmethod
    def get_notification_provider(
        provider_path: str, context: Mapping[str, Any]
    ) -> BaseNotificationProvider:
        """Return the provider at a dotted path, ready to send."""
        provider: BaseNotificationProvider = import_string(provider_path)(context)
        return provider

    @classmethod
    def consume(
        cls, provider: str, provider_class: str, payload: Any, context: Mapping[str, Any]
    ) -> None:
        """Send a payload, or each of a list of them if the context says `bulk`."""
        sender = cls.get_notification_provider(provider_class, context)
        if context.get("bulk") is True:
            sender.send_bulk(payload)
        else:
            sender.send(payload)

    @abc.abstractmethod
    def produce(
        self,
        provider: str,
        provider_class: str,
        payload: Any,
        context: Mapping[str, Any],
        countdown: float,
    ) -> None:
        """See to it that `consume` is called once, `countdown` seconds from now."""

    def run(self, countdown: float) -> None:
        """Produce one delivery for each of the channel's providers."""
        channel = self.notification_channel
        for provider, provider_class in channel.provider_paths.items():
            payload = channel.build_payload(provider)
            context = channel.get_context(provider)
            self.produce(provider, provider_class, payload, context, countdown)
