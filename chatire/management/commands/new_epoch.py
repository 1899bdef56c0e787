"""`manage.py new_epoch`: after a restore from backup, let every client start afresh."""

from typing import Any

from django.core.management.base import BaseCommand
from uuid_utils.compat import uuid7

from chat.models import Installation


class Command(BaseCommand):
    """Renew the installation's epoch."""

    help = "Renew the epoch: run it after restoring a backup, since seq may have gone back."

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the new epoch; clients see it in their next `hello` or `changes`."""
        epoch = uuid7()
        Installation.objects.update_or_create(pk=1, defaults={"epoch": epoch})
        self.stdout.write(f"The epoch is now {epoch}.")
