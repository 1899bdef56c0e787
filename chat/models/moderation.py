"""What keeps order in rooms: former wordings, reports, blocks, and who did what."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from chat.models.conversations import Conversation
from chat.models.messages import Message
from chat.models.rows import UNCHECKED, IdentifiedRow


class Revision(IdentifiedRow):
    """What a message said until `at`, when `by` reworded or deleted it. `n` counts from 1."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, db_index=False, related_name="revisions"
    )
    n = models.PositiveIntegerField()
    content = models.TextField()
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, related_name="+", **UNCHECKED
    )
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "n"], name="revision_once")
        ]
        indexes: ClassVar = [models.Index(fields=["at"], name="revision_at")]

    def __str__(self) -> str:
        return f"wording {self.n} of {self.message_id}"


class ReportQuerySet(models.QuerySet["Report"]):
    """Reports by whether somebody has decided."""

    def waiting(self) -> "ReportQuerySet":
        """Those that nobody has decided."""
        return self.filter(resolved_at=None)


class Report(IdentifiedRow):
    """Somebody finds that a message should not be there. `content` is what it said then."""

    class Reason(models.TextChoices):
        """What is wrong with it."""

        SPAM = "spam"
        ABUSE = "abuse"
        ILLEGAL = "illegal"
        OTHER = "other"

    class Resolution(models.TextChoices):
        """What came of it."""

        DISMISSED = "dismissed"
        DELETED = "deleted"
        SILENCED = "silenced"
        BANNED = "banned"

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, db_index=False, related_name="reports"
    )
    # Whose moderators decide: the conversation, or a topic's forum.
    room = models.ForeignKey(Conversation, related_name="+", **UNCHECKED)
    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, db_index=False, related_name="reports"
    )
    reporter = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    reason = models.CharField(max_length=7, choices=Reason.choices)
    note = models.CharField(max_length=500, blank=True)
    content = models.TextField(blank=True)
    # The role of whoever wrote it, as it was then: nobody decides about their equal or better.
    author_role = models.CharField(max_length=9, blank=True)
    # Does it go to staff? So do those about who moderates, and where nobody does.
    for_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    resolution = models.CharField(max_length=9, choices=Resolution.choices, blank=True)

    objects = ReportQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "reporter"], name="report_once")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["room", "created_at"],
                name="report_waiting",
                condition=Q(resolved_at=None),
            ),
            models.Index(
                fields=["resolved_at"],
                name="report_resolved",
                condition=Q(resolved_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} in {self.message_id}"


class Block(IdentifiedRow):
    """Somebody wants nothing from `blocked`; `on` is false once it was taken back.

    `seq` is that of the person's feed, so that their devices learn of it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False, related_name="blocks"
    )
    blocked = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    on = models.BooleanField(default=True)
    seq = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "blocked"], name="block_once")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} blocks {self.blocked_id}"


class AuditEntry(IdentifiedRow):
    """Who did what to whom, and why. Never changed and never deleted: a trigger sees to it.

    So nothing that it names is a key that the database checks. No text of a message is in it.
    """

    conversation = models.ForeignKey(
        Conversation, null=True, blank=True, related_name="+", **UNCHECKED
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, related_name="+", **UNCHECKED
    )
    action = models.CharField(max_length=40)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, related_name="+", **UNCHECKED
    )
    message = models.ForeignKey(Message, null=True, blank=True, related_name="+", **UNCHECKED)
    # Did they act as staff, without being asked for a membership?
    as_staff = models.BooleanField(default=False)
    reason = models.CharField(max_length=500, blank=True)
    details = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["conversation", "created_at"], name="audit_conversation")
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_id}"
