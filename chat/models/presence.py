"""What people say of themselves, and which of them each `ws` process has."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class PersonStatusQuerySet(models.QuerySet["PersonStatus"]):
    """Statuses by whether they still hold."""

    def current(self) -> "PersonStatusQuerySet":
        """Those whose time is not over."""
        return self.filter(models.Q(until=None) | models.Q(until__gt=timezone.now()))


class PersonStatus(models.Model):
    """What somebody lets others know of them, until then: "at lunch". No row: nothing."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="status"
    )
    emoji = models.CharField(max_length=40, blank=True)
    text = models.CharField(max_length=100, blank=True)
    until = models.DateTimeField(null=True, blank=True)

    objects = PersonStatusQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "person statuses"

    def __str__(self) -> str:
        return f"{self.emoji} {self.text}".strip()


class Attendance(models.Model):
    """The people of one `ws` process, as it wrote them down last. Not logged: lost in a crash.

    For processes that hear nothing over the layer, and for a `ws` that begins.
    """

    process = models.UUIDField(primary_key=True)
    beat_at = models.DateTimeField()
    active = ArrayField(models.UUIDField(), default=list)
    idle = ArrayField(models.UUIDField(), default=list)

    def __str__(self) -> str:
        return f"{len(self.active)} active and {len(self.idle)} idle in {self.process}"
