"""Rooms: what they are about, how people come in, what newcomers read; direct conversations."""

from typing import Any, ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def _add(model: str, name: str, field: Any) -> migrations.AddField:
    return migrations.AddField(model, name, field)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [
        ("chat", "0008_roles"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar[list[Any]] = [
        _add(
            "conversation",
            "access",
            models.CharField(
                choices=[("open", "Open"), ("listed", "Listed"), ("private", "Private")],
                db_default="private",
                default="private",
                max_length=7,
            ),
        ),
        _add("conversation", "archived_at", models.DateTimeField(blank=True, null=True)),
        _add(
            "conversation",
            "avatar",
            models.CharField(blank=True, default="", db_default="", help_text="An emoji.", max_length=40),
        ),
        _add(
            "conversation",
            "direct_key",
            models.CharField(blank=True, editable=False, max_length=64, null=True),
        ),
        _add(
            "conversation",
            "history",
            models.CharField(
                choices=[("all", "All"), ("joined", "Joined")],
                db_default="all",
                default="all",
                max_length=6,
            ),
        ),
        _add(
            "conversation",
            "topic_text",
            models.CharField(blank=True, default="", db_default="", max_length=500),
        ),
        _add(
            "member",
            "invited_by",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            "conversation",
            "kind",
            models.CharField(
                choices=[
                    ("assistant", "Assistant"),
                    ("direct", "Direct"),
                    ("group", "Group"),
                    ("discussion", "Discussion"),
                ],
                default="assistant",
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            "conversation",
            models.UniqueConstraint(
                condition=models.Q(direct_key__isnull=False),
                fields=["direct_key"],
                name="conversation_direct_once",
            ),
        ),
    ]
