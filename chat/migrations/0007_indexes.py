"""Indexes for numbers; those that every message wrote without being read by are dropped.

Built while others write. 
"""

from typing import Any, ClassVar

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

ONCE = """
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS message_number_once
ON chat_message (conversation_id, number) WHERE number IS NOT NULL
"""


def _key(to: str, on_delete: Any, **options: Any) -> Any:
    return models.ForeignKey(db_index=False, on_delete=on_delete, to=to, **options)


class Migration(migrations.Migration):
    atomic = False

    dependencies: ClassVar[list[Any]] = [("chat", "0006_numbers")]

    operations: ClassVar[list[Any]] = [
        RemoveIndexConcurrently("conversation", "conversation_active"),
        AddIndexConcurrently(
            "message",
            models.Index(
                condition=models.Q(parent__isnull=False), fields=["parent"], name="message_parent"
            ),
        ),
        AddIndexConcurrently(
            "message",
            models.Index(
                condition=models.Q(deleted_at__isnull=False, number__isnull=False),
                fields=["conversation", "number"],
                name="message_deleted",
            ),
        ),
        migrations.AlterField(
            "message",
            "author_assistant",
            _key(
                "chat.assistant",
                django.db.models.deletion.SET_NULL,
                blank=True,
                null=True,
                related_name="+",
            ),
        ),
        migrations.AlterField(
            "message",
            "conversation",
            _key(
                "chat.conversation", django.db.models.deletion.CASCADE, related_name="messages"
            ),
        ),
        migrations.AlterField(
            "message",
            "parent",
            _key(
                "chat.message",
                django.db.models.deletion.SET_NULL,
                blank=True,
                null=True,
                related_name="children",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(ONCE, "DROP INDEX CONCURRENTLY message_number_once")],
            [
                migrations.AddConstraint(
                    "message",
                    models.UniqueConstraint(
                        condition=models.Q(number__isnull=False),
                        fields=["conversation", "number"],
                        name="message_number_once",
                    ),
                )
            ],
        ),
    ]
