"""One of something for each event loop: a process has one loop, a test run has many."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Calling it gives the running loop's own, which is made when it is first asked for.

    It goes when its loop does.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def __call__(self) -> T:
        """Return the running event loop's. Raises RuntimeError outside of one."""
        loop = asyncio.get_running_loop()
        made = self._made.get(loop)
        if made is None:
            made = self._made[loop] = self._make()
        return made

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._made.values()))
