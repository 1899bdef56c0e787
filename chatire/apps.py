"""The wiring's own app: commands and the migration that tunes the job queue."""

from django.apps import AppConfig


class ChatireConfig(AppConfig):
    """Wiring only."""

    name = "chatire"

    def ready(self) -> None:
        """Begin to count what goes to the database."""
        from chatire import metrics

        metrics.watch()
