from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]

# Looked up once: readers make one for nearly every message.
_Future = asyncio.Future

_IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


class Event:
    """A message that arrived here, shared by every local channel it is for.

    Each reader gets a dict of its own, as it would from any channel layer, at the price of a
    shallow copy where the values are immutable.
    """

    __slots__ = ("_body", "_deserialize", "_message", "expires_at")

    def __init__(
        self, body: bytes, deserialize: Callable[[bytes], Message], expires_at: float
    ) -> None:
        self._message = deserialize(body)
        self._deserialize = deserialize
        self._body = None if _IMMUTABLE.issuperset(map(type, self._message.values())) else body
        self.expires_at = expires_at

    def message(self) -> Message:
        """The message, as a dict that nobody else holds."""
        if self._body is None:
            return self._message.copy()
        return self._deserialize(self._body)


class Wake:
    """Not a message: whoever waits on the mailbox should look at the table again."""


WAKE = Wake()


class Gap:
    """Not a message either: the channel may have missed some before this point."""


GAP = Gap()

Item = Event | Gap | Wake


class Mailbox:
    """What waits for one local channel, in order, never more than `capacity` messages.

    A message that finds it full is dropped and the mailbox lags: it takes nothing more until its
    reader has emptied it, and then hands out one Gap. So the Gap comes after the last drop, and a
    reader that resyncs on it has everything.

    Belongs to one event loop.
    """

    __slots__ = (
        "_items",
        "_lagging",
        "_waiters",
        "_woken",
        "capacity",
        "groups",
        "idle_ticks",
        "read",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.groups: set[str] = set()
        # Whether anyone has read since the last tick, and for how many ticks nobody has.
        self.read = True
        self.idle_ticks = 0
        self._items: deque[Item] = deque()
        self._waiters: deque[asyncio.Future[Item]] = deque()
        self._lagging = False
        self._woken = False

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        # Empty, it is still a mailbox.
        return True

    @property
    def awaited(self) -> bool:
        """Whether a reader waits now."""
        return bool(self._waiters)

    @property
    def full(self) -> bool:
        """Whether the next message would be dropped."""
        return self._lagging or len(self._items) >= self.capacity

    def put(self, item: Item) -> bool:
        """Hand over or keep a message. False if it was the drop that began a lag."""
        waiters = self._waiters
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return True
        if self._lagging:
            return True
        if len(self._items) >= self.capacity:
            self._lagging = True
            return False
        self._items.append(item)
        return True

    def put_gap(self) -> None:
        """Tell the reader that it may have missed something; adjacent gaps are one."""
        if self._waiters:
            self.put(GAP)
        # Two in a row say no more than one, so gaps cannot outnumber the messages.
        elif not self._lagging and (not self._items or self._items[-1] is not GAP):
            self._items.append(GAP)

    def wake(self) -> None:
        """Make the reader look at the table, or look again if it is looking just now."""
        if self._waiters:
            self.put(WAKE)
        else:
            self._woken = True

    def take(self, loop: asyncio.AbstractEventLoop) -> Item | asyncio.Future[Item]:
        """The next item; or a future that gets it, if nothing waits.

        Who stops awaiting the future must say so with give_back().
        """
        if self._items or self._lagging:
            item = self.get_nowait(loop.time)
            if item is not None:
                return item
        if self._woken:
            self._woken = False
            return WAKE
        waiter: asyncio.Future[Item] = _Future(loop=loop)
        self._waiters.append(waiter)
        self.read = True
        return waiter

    def give_back(self, waiter: asyncio.Future[Item]) -> None:
        """For a reader that was cancelled: an item handed over but not seen goes to the next reader
        that waits, or back in front."""
        if not waiter.done() or waiter.cancelled():
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
            return
        while self._waiters:
            other = self._waiters.popleft()
            if not other.done():
                other.set_result(waiter.result())
                return
        self._items.appendleft(waiter.result())

    def get_nowait(self, now: Callable[[], float]) -> Item | None:
        """The next item, or None if nothing waits. Messages past their expiry become one Gap."""
        items = self._items
        if not items and not self._lagging:
            return None
        self.read = True
        expired = False
        while items:
            item = items[0]
            if isinstance(item, Event) and item.expires_at < now():
                items.popleft()
                expired = True
                continue
            if expired:
                return GAP
            return items.popleft()
        if expired or self._lagging:
            self._lagging = False
            return GAP
        return None


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
