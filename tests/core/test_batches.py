"""Reads that are wanted at the same time are one."""

import asyncio
import contextvars
import threading
from collections.abc import Collection

import pytest
from django.db import OperationalError

from core import threads
from core.batches import Batch

# The threads look after connections.
pytestmark = pytest.mark.django_db(transaction=True)

DEADLINE = 20  # seconds

asker = contextvars.ContextVar("asker", default="nobody")


@pytest.fixture(autouse=True)
def pool():
    yield
    threads.shutdown()


class Reads:
    """What was read, each time; a read may be held up."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.fails = False
        self.seen: list[str] = []

    def __call__(self, keys: Collection[str]) -> dict[str, str]:
        self.asked.append(set(keys))
        self.begun.set()
        self.seen.append(asker.get())
        assert self.may_end.wait(DEADLINE)
        if self.fails:
            raise OperationalError("gone")
        return {key: f"{key} of read {len(self.asked)}" for key in keys}


async def held_up(batch: Batch[str, str], reads: Reads) -> asyncio.Task[str]:
    """One who came alone, whose read has begun and does not end."""
    reads.may_end.clear()
    alone = asyncio.create_task(batch.get("alone"))
    assert await asyncio.to_thread(reads.begun.wait, DEADLINE)
    return alone


async def test_those_who_come_while_a_read_runs_share_the_next():
    reads = Reads()
    batch = Batch(reads)
    alone = await held_up(batch, reads)
    several = [asyncio.create_task(batch.get(key)) for key in ("a", "b", "a", "alone")]
    await asyncio.sleep(0)
    reads.may_end.set()
    assert await alone == "alone of read 1"
    # What is asked for now is read now: the read that runs may have been too early.
    assert await asyncio.gather(*several) == [
        f"{key} of read 2" for key in ("a", "b", "a", "alone")
    ]
    assert reads.asked == [{"alone"}, {"a", "b", "alone"}]


async def test_a_read_is_for_so_many_at_most():
    reads = Reads()
    batch = Batch(reads, most=2)
    alone = await held_up(batch, reads)
    several = [asyncio.create_task(batch.get(key)) for key in "abcde"]
    await asyncio.sleep(0)
    reads.may_end.set()
    await asyncio.gather(alone, *several)
    assert reads.asked == [{"alone"}, {"a", "b"}, {"c", "d"}, {"e"}]


async def test_a_read_that_fails_fails_for_those_who_shared_it_and_no_one_else():
    reads = Reads()
    batch = Batch(reads)
    alone = await held_up(batch, reads)
    reads.fails = True
    several = [asyncio.create_task(batch.get(key)) for key in "ab"]
    await asyncio.sleep(0)
    reads.may_end.set()
    outcomes = await asyncio.gather(alone, *several, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["gone"] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    reads.fails = False
    assert await batch.get("c") == "c of read 3"


async def test_one_who_gives_up_is_not_read_for_and_takes_no_one_along():
    reads = Reads()
    batch = Batch(reads)
    alone = await held_up(batch, reads)
    leaves, stays = (asyncio.create_task(batch.get(key)) for key in ("leaves", "stays"))
    await asyncio.sleep(0)
    leaves.cancel()
    alone.cancel()
    reads.may_end.set()
    assert await stays == "stays of read 2"
    assert reads.asked == [{"alone"}, {"stays"}]


async def test_a_read_for_many_sees_the_context_of_none():
    reads = Reads()
    asker.set("somebody")
    await Batch(reads).get("a")
    assert reads.seen == ["nobody"]
