"""A channel and a provider that note what they are given and fail when told to."""

import threading
from typing import Any, ClassVar

from notifications.channels import BaseNotificationChannel
from notifications.providers import BaseNotificationProvider
from notifications.states import notification_state


class RecordingProvider(BaseNotificationProvider):
    """Keeps what it sent; `failures` are raised first, one per attempt."""

    name = "recording"
    sent: ClassVar[list[Any]] = []
    failures: ClassVar[list[Exception]] = []

    def send(self, payload: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((payload, dict(self.context)))


class HangingProvider(BaseNotificationProvider):
    """Like a mail server that accepts connections and says nothing, until it is released."""

    name = "hanging"
    released: ClassVar = threading.Event()
    slow = True

    def send(self, payload: Any) -> None:
        assert self.released.wait(30)


class HangingChannel(BaseNotificationChannel):
    """Delivers to the hanging provider."""

    name = "hanging"
    providers = ("hanging",)

    def build_payload(self, provider: str) -> Any:
        return {}


class RecordingChannel(BaseNotificationChannel):
    """Delivers to the recording provider."""

    name = "recording"
    providers = ("recording",)

    def build_payload(self, provider: str) -> Any:
        return notification_state(self.notification).model_dump(mode="json")
