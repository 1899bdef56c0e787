from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]

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

    __slots__ = ("_items", "_lagging", "_waiters", "capacity", "groups", "idle_since")

    def __init__(self, capacity: int, now: float) -> None:
        self.capacity = capacity
        self.groups: set[str] = set()
        self.idle_since: float = now
        self._items: deque[Item] = deque()
        self._waiters: deque[asyncio.Future[Item]] = deque()
        self._lagging = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def awaited(self) -> bool:
        """Whether a reader waits now."""
        return bool(self._waiters)

    @property
    def full(self) -> bool:
        """Whether the next message would be dropped."""
        return self._lagging or len(self._items) >= self.capacity

    def put(self, event: Event) -> bool:
        """Hand over or keep the event. False if it was the drop that began a lag."""
        if self._waiters and self._hand_over(event):
            return True
        if self._lagging:
            return True
        if len(self._items) >= self.capacity:
            self._lagging = True
            return False
        self._items.append(event)
        return True

    def put_gap(self) -> None:
        """Tell the reader that it may have missed something; adjacent gaps are one."""
        if self._waiters and self._hand_over(GAP):
            return
        # Two in a row say no more than one, so gaps cannot outnumber the messages.
        if not self._lagging and (not self._items or self._items[-1] is not GAP):
            self._items.append(GAP)

    def wake(self) -> None:
        """Make a waiting reader look at the table."""
        if self._waiters:
            self._hand_over(WAKE)

    async def get(self, now: Callable[[], float]) -> Item:
        """The next item; waits for one. Messages past their expiry become one Gap."""
        item = self.get_nowait(now)
        if item is not None:
            return item
        waiter: asyncio.Future[Item] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Handed over, but the reader was cancelled before it ran: the item goes back in front.
            if waiter.done() and not waiter.cancelled():
                self._items.appendleft(waiter.result())
            raise
        finally:
            if not waiter.done() or waiter.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
            self.idle_since = now()

    def get_nowait(self, now: Callable[[], float]) -> Item | None:
        """The next item, or None if nothing waits."""
        expired = False
        while self._items:
            item = self._items[0]
            if isinstance(item, Event) and item.expires_at < now():
                self._items.popleft()
                expired = True
                continue
            if expired:
                return GAP
            self._items.popleft()
            return item
        if expired or self._lagging:
            self._lagging = False
            return GAP
        return None

    def _hand_over(self, item: Item) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return True
        return False
