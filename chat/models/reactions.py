"""What is under messages: marks, one by one and counted, and threads, counted."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from chat.models.conversations import Conversation
from chat.models.messages import Message
from chat.models.rows import UNCHECKED, IdentifiedRow


class Reaction(IdentifiedRow):
    """Someone's mark under a message: `given` is what they want, `counted` what is in the Tally.

    A vote is one kind of mark, which has a name for its emoji.

    A row that is not both is yet to be counted. There is no foreign key in the database: its
    check would lock the message's row for each of thousands who react at once.
    """

    conversation = models.ForeignKey(Conversation, related_name="+", **UNCHECKED)
    message = models.ForeignKey(Message, related_name="reactions", **UNCHECKED)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, related_name="+", **UNCHECKED)
    emoji = models.CharField(max_length=32)
    given = models.BooleanField(default=True)
    counted = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "user", "emoji"], name="reaction_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["message", "emoji", "id"], name="reaction_kind"),
            models.Index(
                fields=["conversation"],
                name="reaction_uncounted",
                condition=Q(given=False) | Q(counted=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.emoji} by {self.user_id}"


class Tally(models.Model):
    """What many people count together under a message. `seq` is the conversation's.

    `reactions` is `[{emoji, count, users}]`, the emoji that was first given first, with the ids
    of the first five people. `thread` hangs on the message, with so many `replies`, and those of
    the first five `repliers`: `[{type, id}]`.
    """

    message = models.OneToOneField(
        Message,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="tally",
    )
    conversation = models.ForeignKey(Conversation, related_name="+", **UNCHECKED)
    reactions = models.JSONField(default=list)
    thread = models.ForeignKey(Conversation, null=True, related_name="+", **UNCHECKED)
    replies = models.PositiveIntegerField(default=0, db_default=0)
    replied_at = models.DateTimeField(null=True)
    repliers = models.JSONField(default=list, db_default=[])
    # How many of them are votes.
    votes = models.PositiveIntegerField(default=0, db_default=0)
    seq = models.BigIntegerField()
    counted_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["conversation", "seq"], name="tally_seq")]

    def __str__(self) -> str:
        return f"tally of {self.message_id}"


class Recount(models.Model):
    """A message whose thread has moved since it was counted."""

    message = models.OneToOneField(
        Message,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    conversation = models.ForeignKey(Conversation, related_name="+", **UNCHECKED)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["conversation"], name="recount_conversation")]

    def __str__(self) -> str:
        return f"recount of {self.message_id}"
