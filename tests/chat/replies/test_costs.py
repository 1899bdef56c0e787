"""What replies cost while they stream: statements, bytes and connections, as the metrics tell.

Bounds are in counts, never in seconds that a busy machine would stretch.
"""

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from prometheus_client import REGISTRY

from chat.models import Assistant, Message
from chat.replies import metrics
from chat.replies.flusher import CHECK_INTERVAL, INTERVAL
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from tests.chat.replies.conftest import (
    Follower,
    Room,
    Subprocess,
    ended,
    eventually,
    reaching,
    text_so_far,
)
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_text

KINDS = ("flush", "check", "claim", "finish", "publish")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def statements() -> dict[str, float]:
    """Statements so far, by kind; the queue's and other ones come by the clock, not by replies."""
    return {kind: value("chatire_database_statements_total", kind=kind) for kind in KINDS}


def grown(before: dict[str, float]) -> dict[str, float]:
    return {kind: count - before[kind] for kind, count in statements().items()}


async def cost(say: Callable[..., Message], **wanted: Any) -> tuple[Message, dict[str, float]]:
    """Let one reply be written; return it and the statements that it took."""
    before = statements()
    reply = await ended(await in_thread(say, **wanted))
    # What goes out after the commit that ended it is part of it.
    await eventually(lambda: value("chatire_replies_active"), lambda count: count == 0)
    return reply, grown(before)


async def test_statements_do_not_depend_on_tokens(room: Room, worker: WorkerProcess) -> None:
    """Twenty times the tokens in the same time: the same claim, the same end, no more flushes."""
    await in_thread(lambda: Assistant.objects.update(max_tokens=4000))
    await cost(room.say, tokens=3)  # the first in a process sets things up
    rooms = [await in_thread(room.another) for _ in range(2)]

    began = time.monotonic()
    slow, few = await cost(rooms[0].say, tokens=40, rate=20)
    fast, many = await cost(rooms[1].say, tokens=800, rate=400)
    elapsed = time.monotonic() - began

    assert (slow.output_tokens, fast.output_tokens) == (40, 800)
    for kind in ("claim", "finish"):
        # A thread's first connection asks something of its own.
        assert 0 < many[kind] <= few[kind] + 2
    # Time alone bounds them: a tick each, and one more at the beginning and at the end.
    ticks = elapsed / INTERVAL + 4
    assert few["flush"] + many["flush"] <= ticks
    assert few["check"] + many["check"] <= elapsed / CHECK_INTERVAL + 4
    # One for each flush; claim, end, notification and the touch of lists, for each reply.
    assert few["publish"] + many["publish"] <= ticks + 2 * 6
    assert many["flush"] < 800 / 4


async def test_replies_at_once_share_their_flushes(room: Room, worker: WorkerProcess) -> None:
    rooms = [await in_thread(room.another) for _ in range(15)]
    before, began = statements(), time.monotonic()
    replies = [await in_thread(each.say, tokens=60, rate=30) for each in rooms]
    await asyncio.gather(*(ended(reply) for reply in replies))
    elapsed, taken = time.monotonic() - began, grown(before)
    # A tick each, whatever streams, and one for each reply's first word and last.
    assert taken["flush"] + taken["check"] <= elapsed / INTERVAL + 2 * 15 + 2


async def test_bytes_are_those_of_what_is_new(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    """Chunks hold each byte of the text once; frames, once with an envelope of a fixed size."""
    # Of several bytes a character, and none that JSON escapes.
    fake_model.set_default(directive(pieces=["größer 東京 🙂 "] * 400, rate=200, reasoning=20))
    await in_thread(lambda: Assistant.objects.update(max_tokens=4000))
    stored, told = metrics.CHUNK_BYTES._value.get(), metrics.DELTA_BYTES._value.get()

    reply = await in_thread(room.say, "Go on.")
    await follower.until_status(reply, "complete")

    done = await in_thread(lambda: Message.objects.get(pk=reply.pk))
    said = len(done.content.encode()) + len(done.reasoning.encode())
    assert said > 8000
    assert metrics.CHUNK_BYTES._value.get() - stored == said
    deltas = len(follower.deltas(reply))
    assert deltas > 10
    assert said < metrics.DELTA_BYTES._value.get() - told <= said + 300 * deltas


async def test_pieces_are_counted_while_they_come(room: Room, worker: WorkerProcess) -> None:
    before = metrics.TOKENS._value.get()
    reply = await in_thread(room.say, tokens=50, fault="stall_after:10", rate=200)
    await eventually(metrics.TOKENS._value.get, lambda count: count == before + 10)
    now = await in_thread(lambda: Message.objects.get(pk=reply.pk))
    assert now.status == Message.Status.STREAMING


def sessions() -> dict[str, list[str]]:
    """The states of all sessions of the test database but this one, by the name they gave."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT application_name, coalesce(state, '') FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        found: dict[str, list[str]] = {}
        for name, state in cursor.fetchall():
            found.setdefault(name, []).append(state)
        return found


async def test_no_connection_is_held_while_models_are_awaited(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    """Thirty silent models: nobody has a transaction open, and nobody a connection of its own."""
    # Tests before this one may have left theirs to threads that are gone.
    before = value("chatire_database_connections", owner="threads")
    first = await in_thread(room.say, tokens=50, fault="stall_after:5", rate=200)
    await eventually(lambda: text_so_far(first))
    rooms = [await in_thread(room.another) for _ in range(29)]
    silent = [await in_thread(each.say, tokens=50, fault="stall_after:5", rate=0) for each in rooms]
    for reply in silent:
        await reaching(reply, lambda now: now.status == Message.Status.STREAMING)
    await eventually(lambda: sum(record.pieces for record in fake_model.records) == 30 * 5)
    await eventually(lambda: len(text_so_far(silent[-1])) > 0)
    assert value("chatire_replies_active") == 30

    def open_now() -> dict[str, float]:
        return {
            owner: value("chatire_database_connections", owner=owner)
            for owner in ("threads", "flusher", "queue")
        }

    # A statement of the clock's (heartbeat, reaper, check) may be under way at any one look.
    quiet = await eventually(
        sessions, lambda found: all(state == "idle" for s in found.values() for state in s)
    )
    assert sum(map(len, quiet.values())) < 30
    assert open_now()["flusher"] == 1
    assert open_now()["threads"] - before <= 8 + 2  # DB_THREADS, and this test's own
    assert 1 <= open_now()["queue"] <= 4

    def busy() -> float:
        owners = ("threads", "flusher", "queue")
        return sum(value("chatire_database_connections_busy", owner=owner) for owner in owners)

    # That of the thread that looks.
    await eventually(busy, lambda count: count == 1)


def replies_with_text() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT message_id) FROM chat_replychunk")
        return int(cursor.fetchone()[0])


@pytest.mark.timeout(240)
async def test_one_worker_streams_two_hundred_replies_at_once(
    room: Room,
    start_process: Callable[..., Subprocess],
    fake_model: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPLY_TIMEOUT_IDLE", "600")
    running = await in_thread(start_process)
    ready = next(json.loads(line) for line in running.log if "worker_ready" in line)

    def metric(name: str) -> float:
        url = f"http://127.0.0.1:{ready['port']}/metrics"
        with urllib.request.urlopen(url) as answer:
            found = re.search(rf"^{name} (\S+)", answer.read().decode(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    # Every model falls silent after ten tokens, so that none ends before all have begun.
    rooms = await in_thread(lambda: [room.another() for _ in range(200)])
    wanted = {"tokens": 30, "fault": "stall_after:10"}
    replies = await in_thread(
        lambda: [each.say(seed=number, **wanted) for number, each in enumerate(rooms, 1)]
    )
    for some in (50, 100, 150, 200):  # each within the deadline, also on a machine that is busy
        await eventually(
            lambda: metric("chatire_replies_active"), lambda count, some=some: count >= some
        )
    await eventually(replies_with_text, lambda count: count == 200)

    fake_model.drop_connections()
    done = await asyncio.gather(*(ended(reply) for reply in replies))
    assert [(reply.status, reply.attempt) for reply in done] == [("failed", 1)] * 200
    for number, reply in enumerate(done, 1):
        assert reply.content
        assert expected_text(number, 10).startswith(reply.content)
    assert len(fake_model.records) == 200
