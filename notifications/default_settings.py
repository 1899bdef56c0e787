"""The `NOTIFICATIONS_*` settings, django-notifs' names, read when they are needed.

NOTIFICATIONS_DELIVERY_BACKEND: dotted path of the class that carries deliveries out.
NOTIFICATIONS_QUEUE_NAME: the Procrastinate queue of deliveries; read once, at start.
NOTIFICATIONS_RETRY: whether a delivery that failed is tried again.
NOTIFICATIONS_RETRY_INTERVAL: seconds before the first retry; doubles with each further one.
NOTIFICATIONS_MAX_RETRIES: retries before a delivery is given up.
NOTIFICATIONS_WEBSOCKET_EVENT_NAME: `type` of layer messages sent to a `destination` of one's own.
NOTIFICATIONS_PRESENCE_CHECK: dotted path of `(delivery) -> bool`, asked just before sending;
    True means that the recipient is looking already, and the delivery is skipped. None: never.
"""

from typing import Any

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    "NOTIFICATIONS_DELIVERY_BACKEND": "notifications.backends.Procrastinate",
    "NOTIFICATIONS_QUEUE_NAME": "notifications",
    "NOTIFICATIONS_RETRY": True,
    "NOTIFICATIONS_RETRY_INTERVAL": 5,
    # With the interval above, the last retry comes some 85 minutes after the first attempt:
    # a mail server's restart or a short outage loses nothing.
    "NOTIFICATIONS_MAX_RETRIES": 10,
    "NOTIFICATIONS_WEBSOCKET_EVENT_NAME": "notifs_websocket_message",
    "NOTIFICATIONS_PRESENCE_CHECK": None,
}


def __getattr__(name: str) -> Any:
    if name not in DEFAULTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(settings, name, DEFAULTS[name])
