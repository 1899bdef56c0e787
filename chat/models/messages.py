"""What is said, and what of a reply is stored while it is being written."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from chat.models.assistants import Assistant
from chat.models.conversations import Conversation
from chat.models.rows import UNCHECKED, IdentifiedRow


class MessageQuerySet(models.QuerySet["Message"]):
    """Messages by what is to be seen of them, and by where a reply stands."""

    def live(self) -> "MessageQuerySet":
        """Those that were not deleted."""
        return self.filter(deleted_at=None)

    def said(self) -> "MessageQuerySet":
        """Those that say something to be read, the newest first."""
        return self.live().filter(number__isnull=False).exclude(content="").order_by("-number")

    def active(self) -> "MessageQuerySet":
        """Replies that wait to be written or are being written."""
        return self.filter(status__in=Message.ACTIVE)

    def with_authors(self) -> "MessageQuerySet":
        """Read with their authors, ready to be told to clients."""
        return self.select_related("author_user", "author_assistant")


class Message(IdentifiedRow):
    """A turn. `created_seq` places it in the conversation for good; `seq` is its last change."""

    class Role(models.TextChoices):
        """Who speaks, in the model's terms."""

        USER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"

    class Status(models.TextChoices):
        """Where a message stands; only replies are ever anything but complete."""

        COMPLETE = "complete"
        PENDING = "pending"
        STREAMING = "streaming"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    ACTIVE: ClassVar = (Status.PENDING, Status.STREAMING)

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, db_index=False, related_name="messages"
    )
    author_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    author_assistant = models.ForeignKey(
        Assistant,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="+",
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    content = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    refusal = models.TextField(blank=True)
    tool_calls = models.JSONField(default=list, blank=True)
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.COMPLETE)
    # A reply's is the turn it answers. A person's is, with an assistant, the message it was said
    # under, which makes the conversation a tree of branches; elsewhere, what it quotes.
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="children",
    )
    client_id = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001
    model = models.CharField(max_length=120, blank=True)
    # The language a reply was asked for in; empty: the conversation's, else the assistant's.
    language = models.CharField(max_length=35, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    # Of these, how many belong to runs before the present one: before it was continued.
    earlier_attempts = models.PositiveIntegerField(default=0)
    # A durable mark: someone asked for this reply to stop.
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    usage_estimated = models.BooleanField(default=False)
    finish_reason = models.CharField(max_length=20, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, related_name="+", **UNCHECKED
    )
    pinned_at = models.DateTimeField(null=True, blank=True)
    pinned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, related_name="+", **UNCHECKED
    )
    created_seq = models.BigIntegerField()
    seq = models.BigIntegerField()
    # Its place among what can be read, given once and never taken back.
    number = models.BigIntegerField(null=True, blank=True)
    # Whom it names: `[{type, id, start, length}]`, in characters of `content`.
    mentions = models.JSONField(default=list, db_default=[], blank=True)
    mentions_all = models.BooleanField(default=False, db_default=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "created_seq"], name="message_place_once"
            ),
            models.UniqueConstraint(
                fields=["conversation", "author_user", "client_id"],
                name="message_client_id_once",
                condition=Q(client_id__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "number"],
                name="message_number_once",
                condition=Q(number__isnull=False),
            ),
            models.CheckConstraint(
                name="message_seq_not_before_creation", condition=Q(seq__gte=F("created_seq"))
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "seq"], name="message_seq"),
            models.Index(
                fields=["status", "id"],
                name="message_active",
                condition=Q(status__in=["pending", "streaming"]),
            ),
            models.Index(
                fields=["parent"], name="message_parent", condition=Q(parent__isnull=False)
            ),
            models.Index(
                fields=["conversation", "number"],
                name="message_deleted",
                condition=Q(deleted_at__isnull=False, number__isnull=False),
            ),
            models.Index(
                fields=["conversation", "number"],
                name="message_names_all",
                condition=Q(mentions_all=True),
            ),
            models.Index(
                fields=["conversation", "pinned_at"],
                name="message_pinned",
                condition=Q(pinned_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.id}"


class ReplyChunk(models.Model):
    """A stretch of a reply that is still streaming. UNLOGGED and append-only.

    `index` counts flushes from 0 within an attempt; rows go when the reply ends. There is no
    foreign key in the database: its check would cost a row lock on the message per flush.
    """

    pk = models.CompositePrimaryKey("message_id", "attempt", "index")
    message_id = models.UUIDField()
    attempt = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"chunk {self.index} of {self.message_id}"
