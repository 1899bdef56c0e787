"""Reads that are wanted at the same time are one read: one statement, on one thread.

Thousands of sockets come back together after a server was lost, and each wants the same few rows of
its own. While one read runs, those who come wait for the next, which is for all of them; whoever
comes alone waits for nobody.
"""

import asyncio
import contextvars
import copy
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from core.threads import in_thread

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batch(Generic[K, V]):
    """Calls `read`, on a thread, with up to `most` keys; its answer has one value for each.

    For one event loop: see `core.loops.PerLoop`.
    """

    def __init__(self, read: Callable[[Collection[K]], Mapping[K, V]], most: int = 64) -> None:
        self._read = read
        self._most = most
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """Return what was read of a key after this call began.

        Raises what the read raises, as it does to everyone who shared it.
        """
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        if self._task is None:
            # It is nobody's own, so it sees nobody's context variables.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                taken = self._waiting[: self._most]
                del self._waiting[: self._most]
                await self._read_for([one for one in taken if not one[1].done()])
        finally:
            self._task = None
            # None, but when the loop itself ends.
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()

    async def _read_for(self, wanted: Sequence[tuple[K, asyncio.Future[V]]]) -> None:
        if not wanted:
            return
        try:
            found = await in_thread(self._read, {key for key, _ in wanted})
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            for _, future in wanted:
                if not future.done():
                    # One each: a shared one would collect the tracebacks of all.
                    failure = copy.copy(error)
                    failure.__cause__ = error.__cause__
                    future.set_exception(failure)
            return
        for key, future in wanted:
            if not future.done():
                future.set_result(found[key])
