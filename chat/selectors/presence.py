"""Whose presence a person may see, what they say of themselves, and who was where last."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.models import User
from chat.models import Attendance, PersonStatus
from chat.states import status_state
from protocol.states import PersonStatusState

# Written anew each minute at least: who did not has ended.
_HOLDS = timedelta(minutes=2)

_SEEN_BY = """
SELECT p.id, s.user_id, s.emoji, s.text, s.until
FROM accounts_user p
LEFT JOIN chat_personstatus s ON s.user_id = p.id AND (s.until IS NULL OR s.until > now())
WHERE p.id = ANY(%(people)s) AND p.is_active AND (
    p.id = %(viewer)s OR %(everyone)s OR %(shared)s AND p.id IN (
        SELECT m.user_id FROM chat_member m
        WHERE m.user_id = ANY(%(people)s) AND m.left_at IS NULL AND m.conversation_id IN (
            SELECT conversation_id FROM chat_member
            WHERE user_id = %(viewer)s AND left_at IS NULL
        )
    )
) AND NOT EXISTS (
    SELECT FROM chat_block b WHERE b."on" AND (
        b.user_id = p.id AND b.blocked_id = %(viewer)s
        OR b.user_id = %(viewer)s AND b.blocked_id = p.id
    )
)
"""


def by_sharing(viewer: User) -> bool:
    """Say whether somebody sees only those with whom they are in a conversation."""
    return viewer.is_guest or settings.PRESENCE_VISIBLE != "everyone"


def seen_by(viewer: User, people: Collection[UUID]) -> dict[UUID, PersonStatusState | None]:
    """Return those of these people whose presence `viewer` may see, with what they say now."""
    shared = by_sharing(viewer)
    values: dict[str, Any] = {
        "viewer": viewer.pk,
        "people": list(people),
        "everyone": not shared,
        "shared": shared and settings.PRESENCE_VISIBLE != "nobody",
    }
    with connection.cursor() as cursor:
        cursor.execute(_SEEN_BY, values)
        return {
            person: None if of is None else PersonStatusState(emoji=emoji, text=text, until=until)
            for person, of, emoji, text, until in cursor.fetchall()
        }


def own_status(user: User) -> PersonStatusState | None:
    """Return what somebody says of themselves now."""
    status = PersonStatus.objects.current().filter(user=user).first()
    return None if status is None else status_state(status)


def attendances() -> list[tuple[UUID, list[UUID], list[UUID]]]:
    """Return each process that wrote of late, and who was active and idle there."""
    rows = Attendance.objects.filter(beat_at__gt=timezone.now() - _HOLDS)
    return list(rows.values_list("process", "active", "idle"))
