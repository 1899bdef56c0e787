"""Whom messages name: new tables, and columns that the version before fills with their defaults."""

from typing import Any, ClassVar

import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import DO_NOTHING
from django.db.models.functions import Lower


def _key(to: str) -> Any:
    return models.ForeignKey(
        to=to, on_delete=DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [
        ("chat", "0012_inner_conversations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            "Group",
            [
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("slug", models.SlugField(help_text="What is written after the @.", max_length=60)),
                ("name", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "people",
                    models.ManyToManyField(
                        blank=True, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.UniqueConstraint(
                        Lower("slug"),
                        name="group_slug_unique_ci",
                        violation_error_message="There is a group of this name already.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            "Mention",
            [
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "user_id",
                        "conversation_id",
                        "number",
                        "message_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("number", models.BigIntegerField()),
                (
                    "reason",
                    models.CharField(
                        choices=[("name", "Name"), ("group", "Group")],
                        default="name",
                        max_length=7,
                    ),
                ),
                ("conversation", _key("chat.conversation")),
                ("message", _key("chat.message")),
                ("user", _key(settings.AUTH_USER_MODEL)),
            ],
            options={"indexes": [models.Index(fields=["message"], name="mention_message")]},
        ),
        migrations.AddField(
            "message", "mentions", models.JSONField(blank=True, db_default=[], default=list)
        ),
        migrations.AddField(
            "message", "mentions_all", models.BooleanField(db_default=False, default=False)
        ),
    ]
