"""An index of messages that name everyone, made while the version before writes."""

from typing import Any, ClassVar

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar[list[Any]] = [("chat", "0013_mentions")]

    operations: ClassVar[list[Any]] = [
        AddIndexConcurrently(
            "message",
            models.Index(
                condition=models.Q(mentions_all=True),
                fields=["conversation", "number"],
                name="message_names_all",
            ),
        ),
    ]
