"""The life of the `ws` process: health, metrics, and leaving without dropping anyone."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from chat import unread
from chat.services import reactions, topic_rows, topic_views
from chat.socket import registry
from chat.socket.roster import roster
from core import threads
from core.health import database_answers, encode_health
from core.threads import in_thread
from core.tuning import avoid_pauses

logger = structlog.get_logger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


async def http(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer `/health/` and `/metrics`; everything else over HTTP is the `web` process's."""
    if scope["path"] == "/health/":
        healthy = await in_thread(database_answers)
        body, status, kind = (
            encode_health("ws", healthy),
            200 if healthy else 503,
            b"application/json",
        )
    elif scope["path"] == "/metrics":
        body, status, kind = generate_latest(), 200, CONTENT_TYPE_LATEST.encode()
    else:
        body, status, kind = b"This port speaks WebSocket.\n", 404, b"text/plain"
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]}
    )
    await send({"type": "http.response.body", "body": body})


async def lifespan(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Take SIGTERM over from the server: first the clients are sent away, then it stops."""
    await receive()
    _drain_before_stopping()
    avoid_pauses()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    layer = get_channel_layer()
    if hasattr(layer, "close"):
        await layer.close()
    await in_thread(unread.stop)
    await in_thread(reactions.stop)
    await in_thread(topic_rows.stop)
    await in_thread(topic_views.stop)
    await asyncio.to_thread(threads.shutdown)
    await send({"type": "lifespan.shutdown.complete"})


def _drain_before_stopping() -> None:
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop):
        return
    leaving: list[asyncio.Task[None]] = []

    async def leave() -> None:
        roster().live.leave()
        logger.info("draining", sockets=registry.count(), seconds=settings.WS_DRAIN_SECONDS)
        try:
            await registry.send_away(settings.WS_DRAIN_SECONDS if registry.count() else 0)
        finally:
            stop(signal.SIGTERM, None)

    def on_signal() -> None:
        if leaving:
            # Asked twice: stop now.
            leaving[0].cancel()
        else:
            leaving.append(loop.create_task(leave()))

    loop.add_signal_handler(signal.SIGTERM, on_signal)
