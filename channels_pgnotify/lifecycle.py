"""What a layer must do when an event loop is closed or its process is forked."""

from __future__ import annotations

import asyncio
import os
import types
import weakref
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class LoopOwner(Protocol):
    """What has parts in event loops."""

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, None] | None:
        """How to close the part in the loop; None if there is none."""

    def start_afresh(self) -> None:
        """Drop the parent process's connections without ending its sessions."""


_owners: weakref.WeakSet[Any] = weakref.WeakSet()


def close_with(loop: asyncio.AbstractEventLoop, owner: LoopOwner) -> None:
    """Close the owner's part in a loop together with it.

    asyncio.run() cancels the loop's tasks first, and that suffices; a bare loop.close() does not.
    """
    original = loop.close
    reference = weakref.ref(owner)

    def close(self: asyncio.AbstractEventLoop) -> None:
        owner = reference()
        closing = owner.leave_loop(self) if owner else None
        if closing is not None:
            if self.is_closed() or self.is_running():
                closing.close()
            else:
                self.run_until_complete(closing)
        self.close = original  # type: ignore[method-assign]
        self.close()

    loop.close = types.MethodType(close, loop)  # type: ignore[method-assign]


async def run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that must run in another event loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def watch_forks(owner: LoopOwner) -> None:
    """Have the owner start afresh in a forked child."""
    _owners.add(owner)


def _after_fork() -> None:
    for owner in list(_owners):
        owner.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
