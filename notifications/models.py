"""Notifications and their deliveries; the fields are django-notifs', keys and times are ours."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Notifications by whether they were read."""

    def all_unread(self) -> "NotificationQuerySet":
        """Return those not read yet."""
        return self.filter(is_read=False)

    def all_read(self) -> "NotificationQuerySet":
        """Return those read."""
        return self.filter(is_read=True)


class BaseNotificationModel(models.Model):
    """What a notification says, to whom, and about what."""

    # Who caused it; empty if nobody in particular did. It stays when they leave.
    source = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    source_display_name = models.CharField(max_length=150, blank=True)
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.CASCADE,
        related_name="notifs_notifications",
    )
    action = models.CharField(max_length=50, help_text="A verb, such as 'replied'.")
    category = models.CharField(max_length=50)
    # Text, since the things notified about have UUIDs for keys.
    object_id = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001
    content_type = models.ForeignKey(
        ContentType, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    obj = GenericForeignKey("content_type", "object_id")
    url = models.URLField(blank=True)
    short_description = models.CharField(max_length=100)
    channels = models.JSONField(default=list)
    extra_data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    is_read = models.BooleanField(default=False)
    create_date = models.DateTimeField(auto_now_add=True)
    update_date = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        if self.source is None:
            return self.short_description
        what = f"{self.action} {self.short_description}"
        return f"{self.category}: {self.source} {what} => {self.recipient}"


class Notification(BaseNotificationModel):
    """One entry of somebody's inbox."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Two notifications to one person with the same key are one.
    dedupe_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001

    objects = NotificationQuerySet.as_manager()

    class Meta(BaseNotificationModel.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["recipient", "dedupe_key"],
                name="notification_dedupe_key_once",
                condition=Q(dedupe_key__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["recipient", "-id"], name="notification_inbox"),
            models.Index(
                fields=["recipient", "-id"], name="notification_unread", condition=Q(is_read=False)
            ),
        ]

    def read(self) -> None:
        """Mark this row read, without telling open clients; `notifications.utils.read` does."""
        self.is_read = True
        self.save(update_fields=["is_read", "update_date"])

    def to_json(self) -> dict[str, Any]:
        """Return django-notifs' representation: its keys, with values that are JSON."""
        return {
            "notification_id": str(self.id),
            "source": str(self.source_id) if self.source_id else "",
            "source_display_name": self.source_display_name,
            "recipient": str(self.recipient_id) if self.recipient_id else "",
            "category": self.category,
            "action": self.action,
            # Not text before it comes from the database.
            "obj": None if self.object_id is None else str(self.object_id),
            "short_description": self.short_description,
            "url": self.url,
            "channels": self.channels,
            "extra_data": self.extra_data,
            "is_read": self.is_read,
        }


class Delivery(models.Model):
    """One sending of one notification through one provider of one channel.

    `pending` until it was sent (`delivered`), given up (`failed`) or found needless (`skipped`).
    """

    class Status(models.TextChoices):
        """Where a delivery stands; only a pending one is ever sent."""

        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"
        SKIPPED = "skipped"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Empty for a silent notification, which leaves no row in the inbox.
    notification = models.ForeignKey(
        Notification, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    channel = models.CharField(max_length=50)
    provider = models.CharField(max_length=50)
    payload = models.JSONField(encoder=DjangoJSONEncoder)
    context = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    # Until then, the attempt that was made last has it to itself.
    leased_until = models.DateTimeField(null=True, blank=True)
    # The class of the last error; its text may hold addresses or contents, and is not kept.
    error_code = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["notification", "channel", "provider"], name="delivery_once"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["status", "created_at"], name="delivery_status")]

    def __str__(self) -> str:
        return f"{self.status} {self.channel} delivery {self.id}"
