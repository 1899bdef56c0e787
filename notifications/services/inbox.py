"""The inbox: marking notifications read, and telling the person's other devices."""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from core.commits import after_commit
from core.errors import NotFound
from core.publishing import publish_now, to_user
from notifications import selectors
from notifications.models import Notification, NotificationQuerySet
from notifications.states import notification_state
from protocol.events import NotificationRead


@transaction.atomic
def mark_read(*, user: User, notification_id: UUID) -> Notification:
    """Mark one notification read, and tell the person's sockets after the commit.

    Raises NotFound unless it is theirs. Reading what was read already changes and sends nothing.
    """
    notification = selectors.get_notification(user, notification_id)
    if _mark(user, Notification.objects.filter(pk=notification_id)):
        notification.is_read = True
        _publish_read(user, notification)
    return notification


@transaction.atomic
def mark_many_read(*, user: User, ids: Iterable[UUID]) -> int:
    """Mark several notifications read, all or none; return how many were unread.

    Raises NotFound, with the `ids` in its details, if any is not theirs.
    """
    wanted = list(ids)
    missing = selectors.missing_ids(user, wanted)
    if missing:
        raise NotFound(ids=[str(one) for one in missing])
    marked = _mark(user, Notification.objects.filter(pk__in=wanted))
    if marked:
        _publish_read(user, None)
    return marked


@transaction.atomic
def mark_all_read(*, user: User) -> int:
    """Mark a person's whole inbox read; return how many were unread."""
    marked = _mark(user, Notification.objects.all())
    if marked:
        _publish_read(user, None)
    return marked


def _mark(user: User, notifications: NotificationQuerySet) -> int:
    return (
        notifications.all_unread()
        .filter(recipient=user)
        .update(is_read=True, update_date=timezone.now())
    )


def _publish_read(user: User, notification: Notification | None) -> None:
    state = notification_state(notification) if notification is not None else None

    def publish() -> None:
        # Counted after the commit, as another device's answer would be.
        unread = selectors.count_unread(user.pk)
        publish_now(to_user(user.pk, NotificationRead(notification=state, unread=unread)))

    after_commit(publish, lost="publication_lost")


def move_notifications(*, of: User, to: User) -> None:
    """Give one person's notifications to another, who was told neither of this nor of them.

    What both were notified of stays once.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, {"of": of.pk, "to": to.pk})


_MOVE = """
UPDATE notifications_notification n SET recipient_id = %(to)s
WHERE n.recipient_id = %(of)s AND NOT EXISTS (
    SELECT FROM notifications_notification o
    WHERE o.recipient_id = %(to)s AND o.dedupe_key = n.dedupe_key
)
"""
