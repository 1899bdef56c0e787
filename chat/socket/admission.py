"""How many handshakes are under way at once, and who is asked to come back later.

After a server was lost, thousands of clients come back together. Each costs the database a few
statements and the event loop some milliseconds, so they are let in by so many at a time, in the
order in which they came, and those already connected hardly notice. Whoever would wait too long is
told when to come again, at once, instead of being left hanging.
"""

import asyncio
import random
from collections.abc import Callable
from heapq import heappop, heappush

from prometheus_client import Counter, Gauge

from core.loops import PerLoop

SENT_BACK = Counter("chatire_handshakes_sent_back", "Handshakes that were to come again later.")

# Handshakes under way at once. More do not finish sooner: the database's threads are fewer.
AT_ONCE = 16
# Seconds that one may have to wait for its turn.
LONGEST_WAIT = 2.0
# What one takes, in seconds, before any was measured; and how much the newest counts for.
_FIRST_GUESS, _WEIGHT = 0.02, 0.1


class SentBack(Exception):
    """Too many came before; come again after so many milliseconds."""

    def __init__(self, after_ms: int) -> None:
        self.after_ms = after_ms
        super().__init__(f"come again after {after_ms} ms")


class Admission:
    """Lets handshakes in, the first come first."""

    def __init__(self, at_once: int = AT_ONCE, longest_wait: float = LONGEST_WAIT) -> None:
        self._at_once = at_once
        self._longest_wait = longest_wait
        self._places = asyncio.Semaphore(at_once)
        self._took = _FIRST_GUESS
        # Those that were sent back come on top of those that wait: when, as a heap.
        self._coming: list[float] = []
        self.waiting = 0

    async def enter(self) -> Callable[[], None]:
        """Wait for a place; return what gives it back, which may be called more than once.

        Raises SentBack.
        """
        loop = asyncio.get_running_loop()
        expected = self.waiting * self._took / self._at_once
        if expected > self._longest_wait:
            SENT_BACK.inc()
            raise SentBack(self._after_ms(loop.time()))
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        began = loop.time()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._took += (loop.time() - began - self._took) * _WEIGHT
                self._places.release()

        return leave

    def _after_ms(self, now: float) -> int:
        """When there is likely room: spread over what all who were sent back will take."""
        while self._coming and self._coming[0] <= now:
            heappop(self._coming)
        window = (self.waiting + len(self._coming)) * self._took / self._at_once
        after = max(self._longest_wait, 0) + random.uniform(0, window)  # noqa: S311
        heappush(self._coming, now + after)
        return int(after * 1000)


admission = PerLoop(Admission)


def _waiting() -> int:
    return sum(one.waiting for one in admission)


Gauge("chatire_handshakes_waiting", "Handshakes that wait.").set_function(_waiting)
