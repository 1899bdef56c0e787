"""One clock for all sockets of a process: it costs an idle one neither a task nor a timer."""

import asyncio
import time
from typing import Protocol

# Seconds between two looks; a look at ten thousand sockets takes half a millisecond.
_INTERVAL = 0.5


class Watched(Protocol):
    """What has something to do at a time. `due` is in seconds of `time.monotonic`."""

    due: float

    def ring(self, now: float) -> None:
        """Do what is due, and say in `due` when the next is. It must not block."""


class Clock:
    """Rings whatever is due. It ticks while there is something to watch."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, one: Watched) -> None:
        """Ring it when it is due, from now on."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # The sockets of a loop that has ended are gone with it.
            self._loop, self._timer = loop, None
            self._watched.clear()
        self._watched.add(one)
        if self._timer is None:
            self._timer = loop.call_later(_INTERVAL, self._tick, loop)

    def forget(self, one: Watched) -> None:
        """Ring it no more."""
        self._watched.discard(one)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        self._timer = loop.call_later(_INTERVAL, self._tick, loop) if self._watched else None
        for one in [one for one in self._watched if one.due <= now]:
            one.ring(now)


clock = Clock()
