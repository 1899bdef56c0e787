"""Deliveries: one job each, sent by a worker in statements of its own, retried, never at once."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.module_loading import import_string
from procrastinate.contrib.django.models import ProcrastinateJob

from core.jobs import enqueue_named
from notifications import NotificationError, default_settings
from notifications.models import Delivery, Notification
from notifications.providers import BaseNotificationProvider

logger = structlog.get_logger(__name__)

DELIVER_TASK = "notifications.deliver"
# Seconds; retries further apart than this help nobody.
LONGEST_WAIT = 3600
# How long one attempt has a delivery to itself: longer than any provider takes.
LEASE = timedelta(minutes=2)
# How long a delivery that nobody tried may wait before its job is taken for lost.
PATIENCE = timedelta(minutes=10)
# Per round; the next one takes the rest.
MOST_RESUMED = 1000
# How long settled deliveries are kept for whoever looks into one.
DELIVERIES_KEPT = timedelta(days=30)


class DeliveryPostponed(NotificationError):
    """This attempt failed; another one is due in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Delivery failed; next attempt in {wait:g} s.")
        self.wait = wait


class DeliveryFailed(NotificationError):
    """The delivery was given up: it can never succeed, or it failed too often."""


def create_delivery(
    *,
    notification: Notification,
    channel: str,
    provider: str,
    payload: Any,
    context: Mapping[str, Any],
    countdown: float = 0,
) -> Delivery:
    """Store one delivery and the job that sends it, in the caller's transaction."""
    delivery = Delivery.objects.create(
        notification=None if notification._state.adding else notification,  # noqa: SLF001
        channel=channel,
        provider=provider,
        payload=payload,
        context=dict(context),
    )
    run_at = timezone.now() + timedelta(seconds=countdown) if countdown > 0 else None
    _enqueue(delivery, run_at)
    return delivery


def _enqueue(delivery: Delivery, run_at: datetime | None = None) -> None:
    path = BaseNotificationProvider.providers.get(delivery.provider)
    slow = path is None or bool(import_string(path).slow)
    enqueue_named(DELIVER_TASK, run_at=run_at, delivery_id=str(delivery.pk), slow=slow)


def deliver(delivery_id: UUID) -> None:
    """Send a pending delivery, and note that it was sent; one that is settled is left alone.

    Two processes never send it at once, whatever the queue believes of either: an attempt holds
    a lease. At least once, all the same: a process killed between the sending and the note sends
    it again. Channels make that harmless where they can (the websocket by the notification's id,
    e-mail by its Message-ID).
    Not in a transaction: an attempt counts even if it kills the process.
    Raises DeliveryPostponed if it is to be tried again, DeliveryFailed if it is not.
    """
    delivery = _claim(delivery_id)
    if delivery is None:
        return
    if _is_needless(delivery):
        _settle(delivery, Delivery.Status.SKIPPED)
        return
    try:
        _hand_over(delivery)
    except Exception as error:
        raise _failure(delivery, error) from error
    _settle(delivery, Delivery.Status.DELIVERED, delivered_at=timezone.now())


def _claim(delivery_id: UUID) -> Delivery | None:
    """Count an attempt at a pending delivery and lease it; None if there is nothing left to do."""
    now = timezone.now()
    pending = Delivery.objects.filter(pk=delivery_id, status=Delivery.Status.PENDING)
    free = Q(leased_until=None) | Q(leased_until__lt=now)
    if not pending.filter(free).update(attempts=F("attempts") + 1, leased_until=now + LEASE):
        held = pending.values_list("leased_until", flat=True).first()
        if held is not None:
            raise DeliveryPostponed((held - now).total_seconds())
        return None
    delivery = Delivery.objects.select_related("notification__recipient").get(pk=delivery_id)
    if delivery.attempts > most_attempts():
        # Only attempts that never came back count up to here: it kills its workers.
        _settle(delivery, Delivery.Status.FAILED, error_code="worker_lost")
        raise DeliveryFailed(f"Delivery {delivery.pk} was given up: its workers were lost.")
    return delivery


def _is_needless(delivery: Delivery) -> bool:
    notification = delivery.notification
    if notification is not None and (
        notification.is_read
        or (notification.recipient is not None and not notification.recipient.is_active)
    ):
        return True
    check = default_settings.NOTIFICATIONS_PRESENCE_CHECK
    return check is not None and bool(import_string(check)(delivery))


def _hand_over(delivery: Delivery) -> None:
    """Send through the provider registered now under the stored name."""
    path = BaseNotificationProvider.providers.get(delivery.provider)
    if path is None:
        raise NotificationError(f"There is no provider {delivery.provider!r}.")
    provider: BaseNotificationProvider = import_string(path)(delivery.context)
    if delivery.context.get("bulk") is True:
        provider.send_bulk(delivery.payload)
    else:
        provider.send(delivery.payload)


def _settle(delivery: Delivery, status: Delivery.Status, **values: Any) -> None:
    Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.PENDING).update(
        status=status, **values
    )


def _failure(delivery: Delivery, error: Exception) -> NotificationError:
    """Note a failed attempt, and return what to raise: to be tried again, or given up."""
    code = type(error).__name__[:80]
    final = isinstance(error, NotificationError) or delivery.attempts >= most_attempts()
    status = Delivery.Status.FAILED if final else Delivery.Status.PENDING
    _settle(delivery, status, error_code=code, leased_until=None)
    logger.warning(
        "delivery_attempt_failed",
        delivery=str(delivery.pk),
        channel=delivery.channel,
        attempt=delivery.attempts,
        error=code,
        final=final,
    )
    if final:
        return DeliveryFailed(f"Delivery {delivery.pk} was given up: {code}.")
    return DeliveryPostponed(backoff(delivery.attempts))


def resume_deliveries() -> int:
    """Enqueue pending deliveries whose job was lost with its worker; return how many.

    Doing so for one that is not lost is harmless: it is leased, or settled by then.
    """
    now = timezone.now()
    waiting = ProcrastinateJob.objects.filter(task_name=DELIVER_TASK, status="todo").annotate(
        delivery=KeyTextTransform("delivery_id", "args")
    )
    lost = Delivery.objects.filter(
        Q(leased_until__lt=now) | Q(leased_until=None, created_at__lt=now - PATIENCE),
        ~Exists(waiting.filter(delivery=Cast(OuterRef("pk"), models.TextField()))),
        status=Delivery.Status.PENDING,
    )
    deliveries = list(lost.order_by("id").only("provider")[:MOST_RESUMED])
    for delivery in deliveries:
        _enqueue(delivery)
    return len(deliveries)


def most_attempts() -> int:
    """Return how often a delivery is attempted at most."""
    if not default_settings.NOTIFICATIONS_RETRY:
        return 1
    return 1 + int(default_settings.NOTIFICATIONS_MAX_RETRIES)


def backoff(attempts: int) -> float:
    """Return the seconds to wait after so many failed attempts; they double each time."""
    interval = float(default_settings.NOTIFICATIONS_RETRY_INTERVAL)
    return min(interval * 2.0 ** min(attempts - 1, 30), LONGEST_WAIT)


def prune_deliveries() -> int:
    """Delete settled deliveries older than DELIVERIES_KEPT; return how many."""
    old = Delivery.objects.exclude(status=Delivery.Status.PENDING).filter(
        created_at__lt=timezone.now() - DELIVERIES_KEPT
    )
    deleted, _ = old.delete()
    return deleted
