"""Moderators and guests, and what a conversation says of its own about who may do what."""

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [("chat", "0007_indexes")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            "conversation", "policy", models.JSONField(blank=True, db_default={}, default=dict)
        ),
        migrations.AlterField(
            "member",
            "role",
            models.CharField(
                choices=[
                    ("owner", "Owner"),
                    ("admin", "Admin"),
                    ("moderator", "Moderator"),
                    ("member", "Member"),
                    ("guest", "Guest"),
                ],
                default="member",
                max_length=9,
            ),
        ),
    ]
