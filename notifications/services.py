"""Every write of notifications: sending them, delivering them, marking them read.

notify() stores the notification, its deliveries and their jobs in the caller's transaction:
a rollback takes all of them back, and nothing is published or sent before the commit. A worker
then delivers, in its own statements.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.module_loading import import_string
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.models import User
from chatire.errors import Invalid, NotFound
from chatire.jobs import enqueue_named
from notifications import NotificationError, default_settings, events, selectors
from notifications.channels import BaseNotificationChannel
from notifications.models import Delivery, Notification
from notifications.providers import BaseNotificationProvider

logger = structlog.get_logger(__name__)

DELIVER_TASK = "notifications.deliver"
# Characters of JSON: a notification is a hint, and goes into one frame.
MAX_EXTRA_DATA = 16 * 1024
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


def notify(
    *,
    recipient: User,
    category: str,
    action: str,
    short_description: str,
    source: User | None = None,
    source_display_name: str = "",
    obj: models.Model | None = None,
    url: str = "",
    channels: Sequence[str] = ("websocket",),
    extra_data: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    dedupe_key: str | None = None,
    silent: bool = False,
    countdown: float = 0,
) -> Notification:
    """Notify `recipient` through `channels`, in the caller's transaction.

    `short_description` is cut to fit; `url` is absolute or begins with "/"; `extra_data` is
    JSON for clients; `context` is for channels only. A silent notification is delivered but not
    kept. `countdown` is in seconds. With a `dedupe_key` used before for the same recipient,
    nothing is sent and the earlier notification is returned.
    Raises Invalid for unacceptable values, AttributeError for an unknown channel.
    """
    notification = Notification(
        recipient=recipient,
        category=category,
        action=action,
        short_description=short_description,
        source=source,
        source_display_name=source_display_name or (source.name if source else ""),
        obj=obj,
        url=url,
        channels=list(channels),
        extra_data=dict(extra_data or {}),
        dedupe_key=dedupe_key,
    )
    return send_notification(notification, context=context, silent=silent, countdown=countdown)


@transaction.atomic
def send_notification(
    notification: Notification,
    *,
    context: Mapping[str, Any] | None = None,
    silent: bool = False,
    countdown: float = 0,
) -> Notification:
    """Store a notification and the deliveries through its channels. See `notify`."""
    paths = [channel_path(name) for name in dict.fromkeys(notification.channels)]
    _clean(notification)
    if silent:
        notification.create_date = timezone.now()
    else:
        # Not save(): a conflict would end the caller's transaction.
        Notification.objects.bulk_create([notification], ignore_conflicts=True)
        if notification.dedupe_key is not None:
            stored = Notification.objects.get(
                recipient=notification.recipient, dedupe_key=notification.dedupe_key
            )
            if stored.pk != notification.pk:
                return stored
    for path in paths:
        channel: BaseNotificationChannel = import_string(path)(notification, dict(context or {}))
        channel.notify(countdown)
    return notification


def channel_path(name: str) -> str:
    """Return the dotted path of a registered channel. Raises AttributeError for any other."""
    registered: dict[str, str] = BaseNotificationChannel.registered_channels
    if name not in registered:
        raise AttributeError(f"{name!r} is not a delivery channel; there are {sorted(registered)}.")
    return registered[name]


def _clean(notification: Notification) -> None:
    """Make a notification fit its columns, since failing later would fail the caller's rows.

    Free text is made to fit, what has a meaning is refused.
    """
    notification.short_description = _fit(notification, "short_description")
    notification.source_display_name = _fit(notification, "source_display_name")
    if not notification.short_description:
        raise Invalid("A notification needs a short description.")
    for field in ("category", "action", "url", "dedupe_key"):
        value = getattr(notification, field) or ""
        limit = _max_length(field)
        if len(value) > limit or not _is_storable(value):
            raise Invalid(f"{field} is longer than {limit} characters or not text.", field=field)
    notification.url = notification.url or ""
    if not _is_safe_url(notification.url):
        raise Invalid("url must be http(s) or a path on this site.", field="url")
    notification.extra_data = _clean_json(notification.extra_data)


def _fit(notification: Notification, field: str) -> str:
    # Half a surrogate pair becomes "?".
    text = str(getattr(notification, field) or "").encode(errors="replace").decode()
    text = text.replace("\x00", "")
    limit = _max_length(field)
    # Not Django's Truncator: it counts combining characters for nothing, Postgres does not.
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_storable(text: str) -> bool:
    """Say whether Postgres takes it as text: no NUL and no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _max_length(field: str) -> int:
    limit = getattr(Notification._meta.get_field(field), "max_length", None)  # noqa: SLF001
    assert isinstance(limit, int)
    return limit


def _is_safe_url(url: str) -> bool:
    # "//host" and "/\host" leave the site in browsers.
    on_site = url.startswith("/") and not url.startswith(("//", "/\\"))
    return not url or on_site or url.startswith(("https://", "http://"))


def _clean_json(value: Any) -> Any:
    try:
        text = json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid("extra_data must be JSON.", field="extra_data") from error
    # Postgres stores no NUL in JSON, however it is escaped.
    if len(text) > MAX_EXTRA_DATA or "\\u0000" in text or not _is_storable(text):
        raise Invalid(
            f"extra_data must be text of at most {MAX_EXTRA_DATA} characters.", field="extra_data"
        )
    return json.loads(text)


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


def _mark(user: User, notifications: models.QuerySet[Notification]) -> int:
    return notifications.filter(recipient=user, is_read=False).update(
        is_read=True, update_date=timezone.now()
    )


def _publish_read(user: User, notification: Notification | None) -> None:
    state = notification.as_dict() if notification is not None else None

    def publish() -> None:
        events.publish(user.pk, events.read_frame(state, selectors.count_unread(user.pk)))

    # robust: the rows are committed; a frame that was lost harms no one.
    transaction.on_commit(publish, robust=True)
