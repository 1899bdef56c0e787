"""Reactions and their tallies: new tables, which the version before does not know of."""

from typing import Any, ClassVar

import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import DO_NOTHING


def _key(to: str, **options: Any) -> Any:
    return models.ForeignKey(
        to=to, on_delete=DO_NOTHING, db_constraint=False, db_index=False, **options
    )


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [
        ("chat", "0010_joining"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            "Reaction",
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
                ("emoji", models.CharField(max_length=32)),
                ("given", models.BooleanField(default=True)),
                ("counted", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("conversation", _key("chat.conversation", related_name="+")),
                ("message", _key("chat.message", related_name="reactions")),
                ("user", _key(settings.AUTH_USER_MODEL, related_name="+")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["message", "emoji", "id"], name="reaction_kind"),
                    models.Index(
                        condition=models.Q(given=False) | models.Q(counted=False),
                        fields=["conversation"],
                        name="reaction_uncounted",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("message", "user", "emoji"), name="reaction_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            "Tally",
            [
                (
                    "message",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=DO_NOTHING,
                        primary_key=True,
                        related_name="tally",
                        serialize=False,
                        to="chat.message",
                    ),
                ),
                ("reactions", models.JSONField(default=list)),
                ("seq", models.BigIntegerField()),
                ("counted_at", models.DateTimeField()),
                ("conversation", _key("chat.conversation", related_name="+")),
            ],
            options={"indexes": [models.Index(fields=["conversation", "seq"], name="tally_seq")]},
        ),
    ]
