"""What a person alone sees of their rooms, in the order of their own counter."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from chat.models.conversations import Conversation
from chat.models.rows import UNCHECKED


class Feed(models.Model):
    """A person's own counter: it orders what they alone see, as `seq` does a conversation."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="feed",
    )
    seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"feed of {self.user_id} at {self.seq}"


class ReadState(models.Model):
    """What one alone sees of a conversation. `seq` is the feed's.

    `read` is the number of the last message read. The row outlives the membership as `gone`.
    Changing `read` must write no index, so none has `seq` or `read`.
    """

    class Level(models.TextChoices):
        """What a member is notified of."""

        ALL = "all"
        MENTIONS = "mentions"
        NONE = "none"

    pk = models.CompositePrimaryKey("user_id", "conversation_id")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, related_name="+", **UNCHECKED)
    conversation = models.ForeignKey(Conversation, related_name="read_states", **UNCHECKED)
    # Of a thread: the conversation whose members may read it. Whoever leaves that one is `gone`
    # from its threads too, and follows them again when they come back.
    access_id = models.UUIDField(null=True, blank=True, editable=False)
    follows = models.BooleanField(default=False, db_default=False)
    read = models.BigIntegerField(default=0)
    level = models.CharField(max_length=8, choices=Level.choices, default=Level.ALL)
    muted_until = models.DateTimeField(null=True, blank=True)
    pinned = models.PositiveIntegerField(null=True, blank=True)
    gone = models.BooleanField(default=False)
    seq = models.BigIntegerField(default=0)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["conversation", "user"], name="readstate_conversation"),
            # However many threads somebody has ever followed, those that they follow now.
            models.Index(
                fields=["user"],
                name="readstate_follows",
                condition=Q(follows=True, gone=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.conversation_id} read {self.read}"
