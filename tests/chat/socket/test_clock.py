"""One clock for all sockets."""

import asyncio
import time

import pytest

from chat.socket import clock as module
from chat.socket.clock import Clock

DEADLINE = 10.0  # seconds


class Watched:
    """Notes when it is rung, and is due again only if it says so."""

    def __init__(self, due: float = 0.0) -> None:
        self.due = due
        self.rung: asyncio.Queue[float] = asyncio.Queue()

    def ring(self, now: float) -> None:
        self.rung.put_nowait(now)

    async def rings(self) -> float:
        return await asyncio.wait_for(self.rung.get(), DEADLINE)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.01)


async def test_whatever_is_due_is_rung_again_and_again_and_nothing_else() -> None:
    clock = Clock()
    due, later = Watched(), Watched(time.monotonic() + 1e6)
    clock.watch(later)
    clock.watch(due)
    assert await due.rings() < await due.rings()
    assert later.rung.empty()
    later.due = 0.0
    await later.rings()
    clock.forget(due)
    clock.forget(later)


async def test_what_is_forgotten_is_rung_no_more_and_the_others_are() -> None:
    clock = Clock()
    gone, here = Watched(), Watched()
    clock.watch(gone)
    clock.watch(here)
    await gone.rings()
    clock.forget(gone)
    heard = gone.rung.qsize()
    await here.rings()
    await here.rings()
    await here.rings()
    assert gone.rung.qsize() == heard
    clock.forget(here)


async def test_it_stops_with_nothing_to_watch_and_goes_on_with_the_next() -> None:
    clock = Clock()
    for _ in range(2):
        one = Watched()
        clock.watch(one)
        await one.rings()
        clock.forget(one)
        async with asyncio.timeout(DEADLINE):
            while clock._timer is not None:  # noqa: ASYNC110
                await asyncio.sleep(0)


def test_it_serves_one_event_loop_after_another() -> None:
    clock = Clock()
    left = Watched()

    async def serve(one: Watched) -> None:
        clock.watch(one)
        await one.rings()

    asyncio.run(serve(left))
    heard = left.rung.qsize()
    asyncio.run(serve(Watched()))
    assert left.rung.qsize() == heard
