"""Sending: a notification, its deliveries and their jobs, in the caller's transaction.

A rollback takes all of them back, and nothing is published or sent before the commit.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts.models import User
from core.errors import Invalid
from notifications.channels import BaseNotificationChannel
from notifications.models import Notification

# Characters of JSON: a notification is a hint, and goes into one frame.
MAX_EXTRA_DATA = 16 * 1024


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
        raise Invalid("A notification needs a short description.", field="short_description")
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
