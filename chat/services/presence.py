"""What people say of themselves, and who is in a `ws` process."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from chat.models import Attendance, PersonStatus
from chat.states import status_state
from core.errors import Invalid
from core.publishing import publish_on_commit, to_rosters
from protocol.states import PersonStatusState

_LONG_ENDED = timedelta(hours=1)


def set_status(
    *, user: User, emoji: str, text: str, until: datetime | None = None
) -> PersonStatusState | None:
    """Say something of oneself to those who see one's presence; nothing takes it back.

    Raises Invalid for an `until` that is over.
    """
    if until is not None and until <= timezone.now():
        raise Invalid("That time is over.", field="until")
    values = {"emoji": emoji.strip(), "text": text.strip()}
    with transaction.atomic():
        if any(values.values()):
            row, _ = PersonStatus.objects.update_or_create(
                user=user, defaults={**values, "until": until}
            )
            status = status_state(row)
        else:
            PersonStatus.objects.filter(user=user).delete()
            status = None
        said = None if status is None else status.model_dump_json()
        publish_on_commit([to_rosters("live.status", {"user": user.pk.hex, "status": said})])
    return status


def attend(*, process: UUID, active: Sequence[UUID], idle: Sequence[UUID]) -> None:
    """Write down who is in a process, and clear away what those left that ended long ago."""
    now = timezone.now()
    values = {"beat_at": now, "active": list(active), "idle": list(idle)}
    _, new = Attendance.objects.update_or_create(process=process, defaults=values)
    if new:
        Attendance.objects.filter(beat_at__lt=now - _LONG_ENDED).delete()
