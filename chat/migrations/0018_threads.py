"""Threads: who follows them, and what of them is counted."""

from typing import Any, ClassVar

from django.db import migrations, models
from django.db.models.deletion import DO_NOTHING


def _key(to: str, **options: Any) -> Any:
    return models.ForeignKey(
        to=to, on_delete=DO_NOTHING, db_constraint=False, db_index=False, **options
    )


def _add(model: str, name: str, field: Any) -> migrations.AddField:
    return migrations.AddField(model, name, field)


def _optional(field: Any) -> Any:
    return field(blank=True, editable=False, null=True)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [("chat", "0017_presence")]

    operations: ClassVar[list[Any]] = [
        _add("conversation", "root_seq", _optional(models.BigIntegerField)),
        _add(
            "conversation",
            "threads",
            models.CharField(
                choices=[("on", "On"), ("off", "Off"), ("only", "Only")],
                db_default="on",
                default="on",
                max_length=4,
            ),
        ),
        _add("readstate", "access_id", _optional(models.UUIDField)),
        _add("readstate", "follows", models.BooleanField(db_default=False, default=False)),
        migrations.AddIndex(
            "readstate",
            models.Index(
                condition=models.Q(follows=True, gone=False),
                fields=["user"],
                name="readstate_follows",
            ),
        ),
        _add("tally", "thread", _key("chat.conversation", null=True, related_name="+")),
        _add("tally", "replies", models.PositiveIntegerField(db_default=0, default=0)),
        _add("tally", "replied_at", models.DateTimeField(null=True)),
        _add("tally", "repliers", models.JSONField(db_default=[], default=list)),
        migrations.CreateModel(
            "Recount",
            [
                (
                    "message",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="chat.message",
                    ),
                ),
                ("conversation", _key("chat.conversation", related_name="+")),
            ],
            options={
                "indexes": [models.Index(fields=["conversation"], name="recount_conversation")]
            },
        ),
    ]
