"""Every write of notifications: sending them, delivering them, marking them read."""

from notifications.services.deliveries import (
    DELIVER_TASK,
    DELIVERIES_KEPT,
    LEASE,
    LONGEST_WAIT,
    PATIENCE,
    DeliveryFailed,
    DeliveryPostponed,
    backoff,
    create_delivery,
    deliver,
    most_attempts,
    prune_deliveries,
    resume_deliveries,
)
from notifications.services.inbox import (
    mark_all_read,
    mark_many_read,
    mark_read,
    move_notifications,
)
from notifications.services.sending import MAX_EXTRA_DATA, notify, send_notification

__all__ = [
    "DELIVERIES_KEPT",
    "DELIVER_TASK",
    "LEASE",
    "LONGEST_WAIT",
    "MAX_EXTRA_DATA",
    "PATIENCE",
    "DeliveryFailed",
    "DeliveryPostponed",
    "backoff",
    "create_delivery",
    "deliver",
    "mark_all_read",
    "mark_many_read",
    "mark_read",
    "most_attempts",
    "move_notifications",
    "notify",
    "prune_deliveries",
    "resume_deliveries",
    "send_notification",
]
