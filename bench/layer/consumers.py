"""What a consumer costs for each pushed frame: Channels' own dispatch beside PushMixin."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from channels import layers
from channels.generic.websocket import AsyncWebsocketConsumer

from channels_pgnotify import PushMixin

from .peers import CHATIRE, close, make_layer
from .sender import FRAME

SOCKETS = 50
EVENTS = 200


class Plain(AsyncWebsocketConsumer):
    """As the documentation of Channels has it."""

    groups = ["room"]

    async def push(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["frame"])


class Pushing(PushMixin, AsyncWebsocketConsumer):
    groups = ["room"]


KINDS = {"Channels' dispatch": Plain, "PushMixin": Pushing}


async def measure(kind: str) -> float:
    """Microseconds for one frame and socket, from the publisher to the consumer's send()."""
    layer = make_layer(CHATIRE)
    layers.channel_layers.set("default", layer)
    sent = 0
    accepted = asyncio.Semaphore(0)
    done = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        if message["type"] == "websocket.accept":
            accepted.release()
            return
        assert message["text"] == FRAME
        sent += 1
        if sent == SOCKETS * EVENTS:
            done.set()

    def socket() -> Any:
        incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        incoming.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/"}
        return KINDS[kind].as_asgi()(scope, incoming.get, send)

    sockets = [asyncio.create_task(socket()) for _ in range(SOCKETS)]
    for _ in range(SOCKETS):
        await accepted.acquire()
    started = time.perf_counter()
    for _ in range(EVENTS):
        await layer.group_send("room", {"type": "push", "frame": FRAME})
    await done.wait()
    elapsed = time.perf_counter() - started
    for task in sockets:
        task.cancel()
    await asyncio.wait(sockets)
    await close(layer)
    return elapsed / SOCKETS / EVENTS * 1e6
