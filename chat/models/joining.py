"""The ways into a room, and what keeps people out of it."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from chat.models.conversations import Conversation
from chat.models.members import Member
from chat.models.rows import IdentifiedRow


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Invitations by whether they can be taken."""

    def unrevoked(self) -> "InvitationQuerySet":
        """Those that were not ended."""
        return self.filter(revoked_at=None)

    def live(self) -> "InvitationQuerySet":
        """Those that were not ended, have not expired and are not used up."""
        return self.unrevoked().filter(
            Q(expires_at=None) | Q(expires_at__gt=timezone.now()),
            Q(max_uses=None) | Q(uses__lt=F("max_uses")),
        )


class Invitation(IdentifiedRow):
    """A link into a room. Nothing secret is stored: its text is made of `version`, by `tokens`."""

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="invitations"
    )
    version = models.PositiveIntegerField(default=1)
    role = models.CharField(max_length=9, default=Member.Role.MEMBER, choices=Member.Role.choices)
    # May people without an account come by it?
    guests = models.BooleanField(default=False)
    email = models.EmailField(blank=True, help_text="Whom alone it is for; empty: anyone.")
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)
    # Do those who take it have to be let in?
    approval = models.BooleanField(default=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    label = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.label or f"invitation {self.id}"


class JoinRequest(IdentifiedRow):
    """Somebody asks to be let into a room; `decided_at` ends it."""

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="join_requests"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    invitation = models.ForeignKey(
        Invitation, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    text = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    accepted = models.BooleanField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["conversation", "user"],
                name="join_request_once",
                condition=Q(decided_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} to {self.conversation_id}"


class SanctionQuerySet(models.QuerySet["Sanction"]):
    """Sanctions by whether they hold."""

    def live(self) -> "SanctionQuerySet":
        """Those that were not lifted and have not run out."""
        return self.filter(Q(until=None) | Q(until__gt=timezone.now()), lifted_at=None)


class Sanction(IdentifiedRow):
    """What a room forbids a person: a ban is not to come in, by any way."""

    class Kind(models.TextChoices):
        """What is forbidden."""

        BAN = "ban"

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, db_index=False, related_name="sanctions"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=7, choices=Kind.choices, default=Kind.BAN)
    reason = models.CharField(max_length=500, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)

    objects = SanctionQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["conversation", "user"],
                name="sanction_live",
                condition=Q(lifted_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.user}"
