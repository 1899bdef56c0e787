"""When replies are flushed: all of them at a tick, one alone that begins or ends."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from chat.llm import Delta
from chat.replies import flusher as flushing
from chat.replies.flusher import Flusher
from chatire.worker import process

DEADLINE = 10.0  # seconds


async def _no_connection() -> Any:
    raise AssertionError("nothing is to connect here")


@pytest.mark.parametrize("held_up", ["_write", "_publish"])
async def test_the_end_of_a_reply_waits_for_a_piece_that_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, held_up: str
) -> None:
    """Otherwise its end could overtake its last delta, and the delta's row outlive the reply."""
    flusher = Flusher(_no_connection)
    reply = flusher.open(message_id=uuid4(), conversation_id=uuid4(), attempt=1)
    on_its_way, go_on = asyncio.Event(), asyncio.Event()
    published: list[str] = []

    async def pause(step: str) -> None:
        if step == held_up:
            on_its_way.set()
            await go_on.wait()

    async def write(rows: Any) -> dict[Any, bool]:
        await pause("_write")
        return {row[0]: False for row in rows}

    async def publish(pieces: Any) -> None:
        await pause("_publish")
        published.extend(piece.text for _, piece in pieces)

    monkeypatch.setattr(flusher, "_write", write)
    monkeypatch.setattr(flusher, "_publish", publish)
    running = asyncio.create_task(flusher.run())
    reply.add(Delta("the last word", ""))
    await asyncio.wait_for(on_its_way.wait(), DEADLINE)

    draining = asyncio.create_task(flusher.drain(reply))
    await asyncio.sleep(0)
    assert not draining.done()
    go_on.set()
    await asyncio.wait_for(draining, DEADLINE)

    assert published == ["the last word"]
    flusher.close(reply)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_first_word_goes_out_alone_and_before_the_next_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among the pieces of a hundred others it would be stored and sent as one of the last."""
    # Longer than this machine may stall.
    monkeypatch.setattr(flushing, "INTERVAL", 1.0)
    flusher = Flusher(_no_connection)
    old, new = (flusher.open(message_id=uuid4(), conversation_id=uuid4(), attempt=1) for _ in "12")
    published: asyncio.Queue[list[str]] = asyncio.Queue()

    async def write(rows: Any) -> dict[Any, bool]:
        return {row[0]: False for row in rows}

    async def publish(pieces: Any) -> None:
        if pieces:
            await published.put([piece.text for _, piece in pieces])

    monkeypatch.setattr(flusher, "_write", write)
    monkeypatch.setattr(flusher, "_publish", publish)
    running = asyncio.create_task(flusher.run())
    async with asyncio.timeout(DEADLINE):
        old.add(Delta("one", ""))
        assert await published.get() == ["one"]
        old.add(Delta(" two", ""))
        new.add(Delta("uno", ""))
        assert await published.get() == ["uno"]
        new.add(Delta(" due", ""))
        assert await published.get() == [" two", " due"]
        old.add(Delta(" three", ""))
        new.add(Delta(" tre", ""))
        await flusher.drain(new)
        assert published.get_nowait() == [" tre"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.django_db(transaction=True)
async def test_worker_stopped_while_its_flusher_connects_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[psycopg.AsyncConnection[Any]] = []
    begun = asyncio.Event()

    async def hang(connection: psycopg.AsyncConnection[Any], *_: object) -> None:
        opened.append(connection)
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", hang)
    connecting = asyncio.create_task(process._connect_flusher())
    await asyncio.wait_for(begun.wait(), DEADLINE)
    connecting.cancel()
    await asyncio.wait({connecting})
    assert connecting.cancelled()
    assert opened[0].closed
