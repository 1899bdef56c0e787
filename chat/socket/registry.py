"""The sockets open in this process, and how they are sent away when it stops."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any, Protocol

from prometheus_client import REGISTRY, Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

CLOSES = Counter("chatire_socket_closes", "Sockets closed by the server.", ["code"])


class Traffic(Collector):
    """What was sent, counted without a lock: a thousand sockets may hear one message."""

    def __init__(self) -> None:
        self.frames = 0

    def collect(self) -> Iterator[Metric]:
        """Say it to whoever asks for metrics."""
        yield CounterMetricFamily(
            "chatire_socket_frames", "Frames sent to clients.", value=self.frames
        )


traffic = Traffic()
REGISTRY.register(traffic)


class _Socket(Protocol):
    async def server_leaving(self, event: dict[str, Any]) -> None: ...


_open: set[_Socket] = set()


def opened(socket: _Socket) -> None:
    """Count a socket in."""
    _open.add(socket)


def closed(socket: _Socket) -> None:
    """Count a socket out."""
    _open.discard(socket)


def count() -> int:
    """Return how many sockets are open in this process."""
    return len(_open)


Gauge("chatire_sockets_open", "Sockets open in this process.").set_function(count)


async def send_away(window: float) -> None:
    """Tell every client to reconnect and close its socket, spread over `window` seconds.

    Each is told to wait a random while too, so that the other servers are not stormed.
    """
    leaving = list(_open)
    random.shuffle(leaving)
    step = window / max(len(leaving), 1)
    tasks = []
    for socket in leaving:
        after_ms = random.randint(0, int(window * 1000))  # noqa: S311
        tasks.append(asyncio.create_task(socket.server_leaving({"after_ms": after_ms})))
        await asyncio.sleep(step)
    await asyncio.gather(*tasks, return_exceptions=True)
