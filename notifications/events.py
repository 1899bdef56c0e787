"""Frames about notifications, and the one place that publishes them.

Never publish inside a transaction: Postgres would serialise its commit with all that notify.
"""

import json
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.serializers.json import DjangoJSONEncoder

from core.groups import user_group


def created_frame(notification: dict[str, Any], unread: int) -> dict[str, Any]:
    """Return `notification.created`; `notification` is the whole state, `unread` a count."""
    return {"type": "notification.created", "notification": notification, "unread": unread}


def read_frame(notification: dict[str, Any] | None, unread: int) -> dict[str, Any]:
    """Return `notification.read`; without a notification, several were read at once."""
    return {"type": "notification.read", "notification": notification, "unread": unread}


def publish(user_id: UUID, frame: dict[str, Any]) -> None:
    """Send `frame` to every open socket of a person. Outside a transaction only."""
    send(user_group(user_id), pushed(frame))


def pushed(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the layer message that carries `frame`, encoded once to its final text."""
    text = json.dumps(frame, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":"))
    return {"type": "push", "frame": text, "kind": frame["type"]}


def send(group: str, message: dict[str, Any], *, alias: str = "default") -> None:
    """Send a layer message to a group from synchronous code, whichever layer is configured."""
    layer = get_channel_layer(alias)
    if hasattr(layer, "group_send_sync"):
        layer.group_send_sync(group, message)
    else:
        async_to_sync(layer.group_send)(group, message)
