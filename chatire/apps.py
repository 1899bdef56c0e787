"""The wiring's own app: commands and the migration that tunes the job queue."""

from django.apps import AppConfig
from django.core.signals import request_started


class ChatireConfig(AppConfig):
    """Wiring only."""

    name = "chatire"

    def ready(self) -> None:
        """Begin to count what goes to the database, and spare it a question before each request."""
        from core import metrics, threads

        metrics.watch()
        request_started.connect(threads.trust_connections, dispatch_uid="core.threads")
