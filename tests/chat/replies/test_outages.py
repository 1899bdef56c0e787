"""The database goes away, or forgets, while replies stream."""

import asyncio
import signal
from collections.abc import Callable

import psycopg
import pytest
from django.db import InterfaceError, OperationalError

from chat.llm import Delta
from chat.models import Message
from chat.replies import metrics, runner
from chat.replies.flusher import Connection, Flusher
from chatire.worker import process
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from tests.chat.replies.conftest import (
    DEADLINE,
    Follower,
    Room,
    Subprocess,
    chunks,
    database_away,
    ended,
    eventually,
    terminate_connections,
    text_so_far,
)
from tests.chat.replies.test_takeover import claim, execute
from tests.fakes.openai_server import RunningServer


async def test_cut_connections_lose_and_double_nothing(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    rooms = [await in_thread(room.another) for _ in range(5)]
    replies = [await in_thread(each.say, tokens=60, rate=30) for each in rooms]
    for _ in range(3):
        await eventually(lambda: all(text_so_far(reply) for reply in replies))
        assert await in_thread(terminate_connections)
        await asyncio.sleep(0.3)
    done = await asyncio.gather(*(ended(reply) for reply in replies))
    assert {reply.content for reply in done} == {record.text for record in fake_model.records}
    assert [reply.attempt for reply in done] == [1] * 5
    assert {reply.status for reply in done} == {Message.Status.COMPLETE}


async def test_worker_reads_on_while_the_database_is_away(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=40, rate=40)
    await eventually(lambda: text_so_far(reply))
    with database_away():
        # The reply ends meanwhile; nobody but the worker knows.
        record = await asyncio.to_thread(fake_model.wait_for_end)
        assert record.end == "complete"
        await asyncio.sleep(0.5)
    done = await ended(reply)
    assert (done.status, done.attempt) == (Message.Status.COMPLETE, 1)
    assert done.content == record.text
    after = await ended(await in_thread(room.say, tokens=3))
    assert after.status == Message.Status.COMPLETE


async def test_worker_can_be_stopped_while_the_database_is_away(
    room: Room, start_process: Callable[..., Subprocess], fake_model: RunningServer
) -> None:
    running = await in_thread(lambda: start_process(drain=0.5))
    reply = await in_thread(room.say, tokens=100, rate=10)
    await eventually(lambda: text_so_far(reply))
    with database_away():
        running.send(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait) == 0
    assert (await in_thread(fake_model.wait_for_end)).end == "disconnected"


async def test_emptied_chunks_are_written_anew(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=200, rate=50)
    before = await eventually(lambda: text_so_far(reply), lambda text: len(text) > 30)
    rebases = metrics.REBASES._value.get()
    # What a crash of Postgres does to an UNLOGGED table.
    await in_thread(execute, "TRUNCATE chat_replychunk")
    await in_thread(terminate_connections)
    await eventually(metrics.REBASES._value.get, lambda count: count > rebases)
    stored = await eventually(lambda: chunks(reply))
    assert "".join(text for _, _, text in stored).startswith(before)
    assert [at for _, at, _ in stored] == list(range(stored[0][1], stored[0][1] + len(stored)))
    assert (await ended(reply)).content == fake_model.records[0].text
    indexes = [delta["index"] for delta in follower.deltas(reply)]
    assert indexes == sorted(set(indexes))


async def test_reply_fenced_during_an_outage_leaves_its_successors_chunks_alone(room: Room) -> None:
    away, back = asyncio.Event(), asyncio.Event()

    async def connect() -> Connection:
        if not away.is_set():
            away.set()
            raise psycopg.OperationalError("the database is away")
        await back.wait()
        return await process._connect_flusher()

    reply = await in_thread(room.say, tokens=3)
    first = await in_thread(claim, reply)
    assert first is not None
    flusher = Flusher(connect)
    ours = flusher.open(
        message_id=reply.pk, conversation_id=reply.conversation_id, attempt=first.attempt
    )
    running = asyncio.create_task(flusher.run())
    ours.add(Delta("of a worker taken for dead", ""))
    async with asyncio.timeout(DEADLINE):
        await away.wait()
    await in_thread(claim, reply)
    await in_thread(
        execute,
        "INSERT INTO chat_replychunk (message_id, attempt, index, text, reasoning)"
        " VALUES (%s, 2, 0, 'of its successor', '')",
        reply.pk,
    )
    back.set()
    async with asyncio.timeout(DEADLINE):
        await flusher.drain(ours)
    assert await in_thread(chunks, reply) == [(2, 0, "of its successor")]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_worker_that_dies_inside_says_so(
    room: Room, worker: WorkerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    healthy, details = await worker._health()
    assert healthy, details
    with database_away():
        healthy, details = await worker._health()
    assert not healthy
    assert details["database"] is False


@pytest.mark.django_db(transaction=True)
async def test_a_call_is_made_again_while_the_database_is_away_at_growing_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[int] = []

    def at_once(attempt: int, cap: float) -> float:
        waited.append(attempt)
        return 0.0

    monkeypatch.setattr(runner, "backoff", at_once)
    answers = iter([OperationalError(), InterfaceError(), OperationalError(), "done"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await runner.persistently(call) == "done"
    assert waited == [1, 2, 3]
