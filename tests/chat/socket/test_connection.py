"""One socket's life, without a network: what is sent which way, and how it ends."""

import asyncio
import inspect
from typing import Any

import pytest

from chat.socket import registry
from chat.socket.connection import Connection, State
from chat.socket.send_queue import framed
from protocol import limits
from protocol.commands import Pong
from protocol.limits import CloseCode

DEADLINE = 10.0  # seconds


class Server:
    """An ASGI server, with Chatire's extensions or without."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.asked: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.writable = True
        self.reads = asyncio.Event()
        self.closed = asyncio.Event()
        self.aborted = asyncio.Event()
        self.extensions: dict[str, Any] = {
            "chatire.write": self.write,
            "chatire.buffered": lambda: 0 if self.writable else 1000,
            "chatire.abort": self.aborted.set,
        }

    def write(self, frame: bytes) -> bool:
        if self.writable:
            self.written.append(frame)
        return self.writable

    async def send(self, message: dict[str, Any]) -> None:
        self.asked.append(message["type"])
        await self.reads.wait()
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self.closed.set()


def event(text: str) -> dict[str, Any]:
    return {"type": "push", "kind": "message.created", "frame": text}


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_and_events_are_written_straight_and_start_no_task() -> None:
    server = Server()
    connection = Connection(server.send, server.extensions)
    connection.open()
    before, tasks = registry.traffic.frames, asyncio.all_tasks()
    connection.put_event(event("one"))
    connection.put(Pong(id="2"))
    assert server.written == [framed("one"), framed(Pong(id="2").model_dump_json())]
    assert registry.traffic.frames == before + 2
    assert asyncio.all_tasks() == tasks
    connection.ended()


async def test_without_the_extensions_everything_is_an_ordinary_send() -> None:
    server = Server()
    server.reads.set()
    connection = Connection(server.send, {})
    connection.open()
    before = registry.traffic.frames
    for text in ("one", "two"):
        connection.put_event(event(text))
    await asyncio.wait_for(connection.send_queue.drained(), DEADLINE)
    assert server.sent == [{"type": "websocket.send", "text": text} for text in ("one", "two")]
    assert registry.traffic.frames == before + 2
    await connection.shut(CloseCode.RESTARTING, "restarting")
    closing = {"type": "websocket.close", "code": 1012, "reason": "restarting"}
    assert server.sent[-1] == closing
    connection.ended()


async def test_what_is_put_before_a_socket_is_open_is_sent_once_it_is() -> None:
    server = Server()
    server.writable = False
    server.reads.set()
    connection = Connection(server.send, server.extensions)
    connection.put_event(event("early"))
    await settled()
    assert server.sent == []
    server.writable = True
    connection.open()
    connection.put_event(event("next"))
    await asyncio.wait_for(connection.send_queue.drained(), DEADLINE)
    assert [message["text"] for message in server.sent] == ["early", "next"]
    connection.ended()


async def test_a_stuck_client_is_closed_4008_and_dropped_if_it_does_not_even_take_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chat.socket.connection._CLOSE_TIMEOUT", 0.05)
    server = Server()
    server.writable = False
    connection = Connection(server.send, server.extensions)
    connection.open()
    connection.put_event(event("never"))
    connection.ring(1000.0)
    connection.ring(1029.5)
    await settled()
    assert connection.state is State.OPEN
    connection.ring(1030.0)
    await asyncio.wait_for(server.aborted.wait(), DEADLINE)
    assert connection.state is State.CLOSING
    connection.ended()


async def test_the_clock_looks_after_whoever_something_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chat.socket.clock._INTERVAL", 0.01)
    monkeypatch.setattr(limits, "STUCK_SECONDS", 0.03)
    monkeypatch.setattr("chat.socket.connection._CLOSE_TIMEOUT", 0.05)
    idle, stuck = Server(), Server()
    stuck.writable = False
    connections = [Connection(one.send, one.extensions) for one in (idle, stuck)]
    for connection in connections:
        connection.open()
        connection.put_event(event("x"))
    await asyncio.wait_for(stuck.aborted.wait(), DEADLINE)
    assert connections[0].state is State.OPEN
    for connection in connections:
        connection.ended()


async def test_what_waits_for_a_slow_client_is_not_waited_for() -> None:
    server = Server()
    server.writable = False
    connection = Connection(server.send, server.extensions)
    connection.open()
    connection.put_event(event("x"))
    await settled()
    closing = asyncio.create_task(connection.shut(CloseCode.TOO_SLOW, "too_slow"))
    await settled()
    assert server.asked == ["websocket.send", "websocket.close"]
    server.reads.set()
    await asyncio.wait_for(closing, DEADLINE)
    connection.ended()


async def test_a_client_that_is_only_slow_is_told_4008() -> None:
    server = Server()
    server.writable = False
    connection = Connection(server.send, server.extensions)
    connection.open()
    for _ in range(1001):
        connection.put_event(event("x"))
    server.reads.set()
    await asyncio.wait_for(server.closed.wait(), DEADLINE)
    assert server.sent[-1] == {"type": "websocket.close", "code": 4008, "reason": "too_slow"}
    connection.ended()


@pytest.mark.filterwarnings("error")
async def test_a_task_that_ends_before_it_begins_leaves_nothing_unawaited() -> None:
    server = Server()
    connection = Connection(server.send, server.extensions)
    begun = []

    async def work() -> None:
        begun.append(True)

    coroutine = work()
    connection.spawn(coroutine)
    connection.ended()
    await settled()
    assert begun == []
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
