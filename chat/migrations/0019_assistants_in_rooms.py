"""What assistants hear and read in rooms, and how many replies a day were asked for there."""

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar[list[Any]] = [("chat", "0018_threads")]

    operations: ClassVar[list[Any]] = [
        migrations.AddField(
            "member",
            "hears",
            models.CharField(
                choices=[
                    ("mentions", "what names it or answers it"),
                    ("thread", "also all in threads and topics that it has spoken in"),
                    ("all", "everything"),
                ],
                db_default="mentions",
                default="mentions",
                max_length=8,
            ),
        ),
        migrations.AddField(
            "member",
            "reads",
            models.CharField(
                choices=[
                    ("thread", "what it is asked, and what that answers"),
                    ("room", "everything since it joined"),
                ],
                db_default="room",
                default="room",
                max_length=6,
            ),
        ),
        migrations.AddField(
            "conversation",
            "reply_day",
            models.DateField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            "conversation",
            "reply_count",
            models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
    ]
