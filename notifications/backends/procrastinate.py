"""Deliveries as rows and jobs, sent by a worker."""

from collections.abc import Mapping
from typing import Any

from notifications.backends.base import BaseBackend
from notifications.services import create_delivery


class ProcrastinateBackend(BaseBackend):
    """The default: a job in the caller's transaction, sent by a worker with retries."""

    def produce(
        self,
        provider: str,
        provider_class: str,
        payload: Any,
        context: Mapping[str, Any],
        countdown: float,
    ) -> None:
        """Store the delivery and its job."""
        create_delivery(
            notification=self.notification_channel.notification,
            channel=self.notification_channel.name,
            provider=provider,
            payload=payload,
            context=context,
            countdown=countdown,
        )
