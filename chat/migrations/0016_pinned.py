"""The index of pinned messages, built while others write."""

from typing import Any, ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar[list[Any]] = [("chat", "0015_moderation")]

    operations: ClassVar[list[Any]] = [
        AddIndexConcurrently(
            "message",
            models.Index(
                condition=models.Q(pinned_at__isnull=False),
                fields=["conversation", "pinned_at"],
                name="message_pinned",
            ),
        ),
    ]
