"""Deliveries without a worker."""

import time
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from notifications.backends.base import BaseBackend


class SynchronousBackend(BaseBackend):
    """In this process, right after the commit; nothing is retried. For scripts and small sites."""

    def produce(
        self,
        provider: str,
        provider_class: str,
        payload: Any,
        context: Mapping[str, Any],
        countdown: float,
    ) -> None:
        """Send after the caller's commit. It blocks for the countdown, as django-notifs' does."""

        def send() -> None:
            time.sleep(countdown)
            self.consume(provider, provider_class, payload, context)

        transaction.on_commit(send)
