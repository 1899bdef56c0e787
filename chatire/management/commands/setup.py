"""`manage.py setup`: what a migrated database needs before anyone can be answered."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from chat.services.assistants import make_first_assistant


class Command(BaseCommand):
    """Make the first assistant, unless there is one. Asks nothing; run at every deployment."""

    help = "Make an assistant on CHATIRE_MODEL, unless there is any or FIRST_ASSISTANT is off."

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what was made, or why nothing was."""
        if not settings.FIRST_ASSISTANT:
            self.stdout.write("No assistant was made: FIRST_ASSISTANT is off.")
            return
        assistant = make_first_assistant()
        if assistant is None:
            self.stdout.write("No assistant was made: there is one already.")
        else:
            model = settings.DEFAULT_MODEL
            self.stdout.write(f"Made the assistant {assistant.slug!r}; it runs on {model}.")
