"""A channel and a provider that note what they are given and fail when told to."""

from typing import Any, ClassVar

from notifications.channels import BaseNotificationChannel
from notifications.providers import BaseNotificationProvider


class RecordingProvider(BaseNotificationProvider):
    """Keeps what it sent; `failures` are raised first, one per attempt."""

    name = "recording"
    sent: ClassVar[list[Any]] = []
    failures: ClassVar[list[Exception]] = []

    def send(self, payload: Any) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((payload, dict(self.context)))


class RecordingChannel(BaseNotificationChannel):
    """Delivers to the recording provider."""

    name = "recording"
    providers = ("recording",)

    def build_payload(self, provider: str) -> Any:
        return self.notification.as_dict()
