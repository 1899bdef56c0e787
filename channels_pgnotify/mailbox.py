from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol

Message = dict[str, Any]

# Looked up once: readers make one for nearly every message.
_Future = asyncio.Future

_IMMUTABLE = frozenset({str, bytes, int, float, bool, type(None)})


class Event:
    """A message that arrived here, shared by every local channel it is for.

    Each reader gets a dict of its own, as it would from any channel layer, at the price of a
    shallow copy where the values are immutable. `shared` is the same for all: look, do not touch.
    """

    __slots__ = ("_body", "_deserialize", "expires_at", "shared")

    def __init__(
        self, body: bytes, deserialize: Callable[[bytes], Message], expires_at: float
    ) -> None:
        self.shared = deserialize(body)
        self._deserialize = deserialize
        self._body = None if _IMMUTABLE.issuperset(map(type, self.shared.values())) else body
        self.expires_at = expires_at

    def message(self) -> Message:
        """The message, as a dict that nobody else holds."""
        if self._body is None:
            return self.shared.copy()
        return self._deserialize(self._body)


class Wake:
    """Not a message: whoever waits on the mailbox should look at the table again."""


WAKE = Wake()


class Gap:
    """Not a message either: the channel may have missed some before this point."""


GAP = Gap()

Item = Event | Gap | Wake


class Taker(Protocol):
    """Who takes the messages of a channel as they arrive, instead of waiting in `receive`."""

    def take(self, message: Message) -> bool:
        """Take a message, which others get too and nobody may change; False to let it wait."""

    def look(self) -> None:
        """Something waits in the mailbox now."""


class Mailbox:
    """What waits for one local channel, in order, never more than `capacity` messages.

    A message that finds it full is dropped and the mailbox lags: it takes nothing more until its
    reader has emptied it, and then hands out one Gap. So the Gap comes after the last drop, and a
    reader that resyncs on it has everything.

    A message goes to the taker, if there is one and nothing waits before it. Belongs to one event
    loop. Idle, it weighs little: there may be ten thousand.
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
        "taker",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.groups: set[str] = set()
        # Whether anyone has read since the last tick, and for how many ticks nobody has.
        self.read = True
        self.idle_ticks = 0
        self.taker: Taker | None = None
        # None while nothing, or nobody, waits.
        self._items: deque[Item] | None = None
        self._waiters: deque[asyncio.Future[Item]] | None = None
        self._lagging = False
        self._woken = False

    def __len__(self) -> int:
        return len(self._items or ())

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
        return self._lagging or len(self) >= self.capacity

    def put(self, item: Item) -> bool:
        """Hand over or keep a message. False if it was the drop that began a lag."""
        if self._waiters and self._hand_over(item):
            return True
        taker = self.taker
        if (
            taker is not None
            and self._items is None
            and not self._lagging
            and isinstance(item, Event)
            and taker.take(item.shared)
        ):
            return True
        if self._lagging:
            return True
        if len(self) >= self.capacity:
            self._lagging = True
            return False
        self._append(item)
        return True

    def _hand_over(self, item: Item) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return True
        return False

    def _append(self, item: Item) -> None:
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        if self.taker is not None:
            self.taker.look()

    def put_gap(self) -> None:
        """Tell the reader that it may have missed something; adjacent gaps are one."""
        # Two in a row say no more than one, so gaps cannot outnumber the messages.
        if not (self._hand_over(GAP) or self._lagging or (self._items and self._items[-1] is GAP)):
            self._append(GAP)

    def wake(self) -> None:
        """Make the reader look at the table, or look again if it is looking just now."""
        if not self._hand_over(WAKE):
            self._woken = True

    def take(self, loop: asyncio.AbstractEventLoop) -> Item | asyncio.Future[Item]:
        """The next item; or a future that gets it, if nothing waits.

        Who stops awaiting the future must say so with give_back().
        """
        if self._items is not None or self._lagging:
            item = self.get_nowait(loop.time)
            if item is not None:
                return item
        if self._woken:
            self._woken = False
            return WAKE
        waiter: asyncio.Future[Item] = _Future(loop=loop)
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(waiter)
        self.read = True
        return waiter

    def give_back(self, waiter: asyncio.Future[Item]) -> None:
        """For a reader that was cancelled: an item handed over but not seen goes to the next reader
        that waits, or back in front."""
        if not waiter.done() or waiter.cancelled():
            if self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)
        elif not self._hand_over(waiter.result()):
            if self._items is None:
                self._items = deque()
            self._items.appendleft(waiter.result())

    def get_nowait(self, now: Callable[[], float]) -> Item | None:
        """The next item, or None if nothing waits. Messages past their expiry become one Gap."""
        items = self._items
        if items is None and not self._lagging:
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
            items.popleft()
            if not items:
                self._items = None
            return item
        self._items = None
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
