"""Who is named in messages, and groups of people that are named together."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from chat.models.conversations import Conversation
from chat.models.messages import Message
from chat.models.rows import UNCHECKED, IdentifiedRow


class Group(IdentifiedRow):
    """People who are named by one word, wherever some of them are members."""

    slug = models.SlugField(max_length=60, help_text="What is written after the @.")
    name = models.CharField(max_length=80)
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("slug"),
                name="group_slug_unique_ci",
                violation_error_message="There is a group of this name already.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Mention(models.Model):
    """A message that names somebody, by their own name or a group's: what its wording says now.

    Everyone (`@all`) has no rows; see `Message.mentions_all`.
    """

    class Reason(models.TextChoices):
        """What names them."""

        NAME = "name"
        GROUP = "group"

    pk = models.CompositePrimaryKey("user_id", "conversation_id", "number", "message_id")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, related_name="+", **UNCHECKED)
    conversation = models.ForeignKey(Conversation, related_name="+", **UNCHECKED)
    number = models.BigIntegerField()
    message = models.ForeignKey(Message, related_name="+", **UNCHECKED)
    reason = models.CharField(max_length=7, choices=Reason.choices, default=Reason.NAME)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["message"], name="mention_message")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.message_id}"
