from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque


class ParkedMessages:
    """Messages for channels of this process that no event loop has at the moment.

    A channel made under one async_to_sync() and read under another has no loop in between. Bounded:
    the channels longest parked give way. Safe from any thread.
    """

    MAX_CHANNELS = 1_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: OrderedDict[str, deque[tuple[float, bytes]]] = OrderedDict()

    def put(self, channel: str, body: bytes, capacity: int, expiry: float) -> bool:
        """Keep a message for `expiry` seconds; False if the channel has `capacity` already."""
        with self._lock:
            now = time.monotonic()
            waiting = self._channels.setdefault(channel, deque())
            while waiting and waiting[0][0] < now:
                waiting.popleft()
            if len(waiting) >= capacity:
                return False
            waiting.append((now + expiry, body))
            if len(self._channels) > self.MAX_CHANNELS:
                self._channels.popitem(last=False)
            return True

    def take(self, channel: str) -> list[bytes]:
        """What waits for the channel; it waits here no more."""
        if not self._channels:
            return []
        with self._lock:
            now = time.monotonic()
            waiting = self._channels.pop(channel, ())
            return [body for expires_at, body in waiting if expires_at >= now]

    def clear(self) -> None:
        with self._lock:
            self._channels.clear()
