"""What a forum is about: its topics, as it lists them."""

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from chat.models.conversations import Conversation
from chat.models.messages import Message
from chat.models.rows import UNCHECKED

TAG_LENGTH = 30


class TopicQuerySet(models.QuerySet["Topic"]):
    """Topics by what is to be seen of them."""

    def live(self) -> "TopicQuerySet":
        """Those that were not deleted."""
        return self.filter(deleted=False)

    def with_authors(self) -> "TopicQuerySet":
        """Read with their authors, ready to be told to clients."""
        return self.select_related("author")


class Topic(models.Model):
    """A conversation of a forum, as the forum lists it. `seq` and `number` are the forum's.

    `votes`, `replies`, `active_at` and `hot` follow what happens in the conversation, a few
    seconds later; it is `stale` until then. Changing that must write no index.
    """

    conversation = models.OneToOneField(
        Conversation, primary_key=True, on_delete=models.CASCADE, related_name="topic"
    )
    forum = models.ForeignKey(Conversation, related_name="topics", **UNCHECKED)
    # Of the same author, so that one sent twice is one.
    client_id = models.CharField(max_length=64)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    title = models.CharField(max_length=200)
    first_message = models.ForeignKey(Message, related_name="+", **UNCHECKED)
    accepted = models.ForeignKey(Message, null=True, blank=True, related_name="+", **UNCHECKED)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, related_name="+", **UNCHECKED
    )
    accepted_at = models.DateTimeField(null=True, blank=True)
    # Also without an answer that was accepted.
    solved = models.BooleanField(default=False)
    closed = models.BooleanField(default=False)
    pinned = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    tags = ArrayField(models.CharField(max_length=TAG_LENGTH), default=list, blank=True)
    votes = models.PositiveIntegerField(default=0)
    views = models.PositiveBigIntegerField(default=0)
    replies = models.PositiveIntegerField(default=0)
    hot = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    active_at = models.DateTimeField(auto_now_add=True)
    seq = models.BigIntegerField()
    number = models.BigIntegerField()
    stale = models.BooleanField(default=False)
    refreshed_at = models.DateTimeField(null=True, blank=True)

    objects = TopicQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["forum", "author", "client_id"], name="topic_client_id_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["forum", "seq"], name="topic_seq"),
            *(
                models.Index(
                    fields=["forum", "pinned", by, "conversation"],
                    name=f"topic_{name}",
                    condition=Q(deleted=False),
                )
                for name, by in (
                    ("active", "active_at"),
                    ("new", "created_at"),
                    ("votes", "votes"),
                    ("hot", "hot"),
                )
            ),
            models.Index(
                fields=["forum", "pinned", "created_at", "conversation"],
                name="topic_unanswered",
                condition=Q(deleted=False, solved=False, closed=False, replies=0),
            ),
            models.Index(
                fields=["forum", "accepted_at"],
                name="topic_accepted",
                condition=Q(deleted=False, accepted__isnull=False),
            ),
            models.Index(
                fields=["forum", "number"], name="topic_deleted", condition=Q(deleted=True)
            ),
            GinIndex(fields=["tags"], name="topic_tags", fastupdate=False),
        ]

    def __str__(self) -> str:
        return self.title


class TopicView(models.Model):
    """Who looked at a topic today, so that each counts once. UNLOGGED; yesterday's rows go."""

    pk = models.CompositePrimaryKey("topic_id", "user_id", "day")
    topic_id = models.UUIDField()
    user_id = models.UUIDField()
    day = models.DateField()

    def __str__(self) -> str:
        return f"{self.user_id} at {self.topic_id} on {self.day}"
