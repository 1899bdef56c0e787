"""Who is in which room, and as what."""

from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q, Subquery, Value
from django.db.models.functions import Coalesce

from chat.models.assistants import Assistant
from chat.models.conversations import Conversation
from chat.models.rows import IdentifiedRow


class MemberQuerySet(models.QuerySet["Member"]):
    """Memberships by whether they last, and by who has them."""

    def present(self) -> "MemberQuerySet":
        """Those that have not ended."""
        return self.filter(left_at=None)

    def deciding(self, conversation_id: UUID) -> "MemberQuerySet":
        """Those whose membership lets them into a conversation: its own, or its forum's."""
        inner = Conversation.objects.live().filter(pk=conversation_id).values("access_id")
        return self.filter(conversation=Coalesce(Subquery(inner), Value(conversation_id)))

    def people(self) -> "MemberQuerySet":
        """Those of people, not of assistants."""
        return self.filter(user__isnull=False)


class Member(IdentifiedRow):
    """A person's or an assistant's place in a conversation, as all see it; `left_at` ends it."""

    class Role(models.TextChoices):
        """What a member may do to the conversation."""

        OWNER = "owner"
        ADMIN = "admin"
        MODERATOR = "moderator"
        MEMBER = "member"
        GUEST = "guest"

    class Hears(models.TextChoices):
        """What an assistant replies to."""

        MENTIONS = "mentions", "what names it or answers it"
        THREAD = "thread", "also all in threads and topics that it has spoken in"
        ALL = "all", "everything"

    class Reads(models.TextChoices):
        """What an assistant is told of."""

        THREAD = "thread", "what it is asked, and what that answers"
        ROOM = "room", "everything since it joined"

    # Who is told by name in a large room.
    MANAGERS: ClassVar = (Role.OWNER, Role.ADMIN, Role.MODERATOR)

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="memberships",
    )
    assistant = models.ForeignKey(
        Assistant, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=9, choices=Role.choices, default=Role.MEMBER)
    nickname = models.CharField(max_length=80, blank=True)
    # Of assistants.
    hears = models.CharField(
        max_length=8, choices=Hears.choices, default=Hears.MENTIONS, db_default=Hears.MENTIONS
    )
    reads = models.CharField(
        max_length=6, choices=Reads.choices, default=Reads.ROOM, db_default=Reads.ROOM
    )
    # The link they came by.
    invitation = models.ForeignKey(
        "Invitation", null=True, blank=True, on_delete=models.SET_NULL, related_name="members"
    )
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    joined_at = models.DateTimeField(auto_now_add=True)
    joined_seq = models.BigIntegerField(default=0, db_default=0)
    left_at = models.DateTimeField(null=True, blank=True)
    # Until then they may say nothing.
    silenced_until = models.DateTimeField(null=True, blank=True)
    # Where there is slow mode. Not told to anyone, and so not stamped.
    last_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    seq = models.BigIntegerField(default=0)

    objects = MemberQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="member_is_user_or_assistant",
                condition=Q(user__isnull=False) ^ Q(assistant__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "user"],
                name="member_user_once",
                condition=Q(user__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["conversation", "assistant"],
                name="member_assistant_once",
                condition=Q(assistant__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["conversation", "seq"], name="member_seq"),
            models.Index(
                fields=["user", "conversation"], name="member_present", condition=Q(left_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.assistant} in {self.conversation_id}"

    def readable_after(self, conversation: Conversation) -> int:
        """The `created_seq` up to which messages are not for this member to read."""
        if conversation.pk != self.conversation_id:
            return 0
        return self.joined_seq if conversation.history == Conversation.History.JOINED else 0
