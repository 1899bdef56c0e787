"""The server's side of a socket: the straight way, and a client that does not read."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chat.socket.connection import Connection, State
from chat.socket.send_queue import framed
from chatire.websocket import SocketProtocol

DEADLINE = 10.0  # seconds
LARGE = "x" * 100_000

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """Accepts sockets and leaves them to the test."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[tuple[Scope, Receive, Send]] = asyncio.Queue()
        self.before: bool | None = None
        self.leave = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.before = scope["extensions"]["chatire.write"](framed("too early"))
        await send({"type": "websocket.accept"})
        self.opened.put_nowait((scope, receive, send))
        await self.leave.wait()


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    made = Application()
    yield made
    made.leave.set()


@pytest.fixture
async def port(application: Application) -> AsyncIterator[int]:
    """A server's."""
    config = Config(application, ws_per_message_deflate=False, ws_ping_interval=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SocketProtocol(config, state, {}), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    application.leave.set()
    server.close()
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=DEADLINE)


@asynccontextmanager
async def opened(
    application: Application, port: int
) -> AsyncIterator[tuple[ClientConnection, Scope, Receive, Send]]:
    """A client, and the socket as the application has it."""
    async with connect(f"ws://127.0.0.1:{port}/", close_timeout=0.1) as client:
        scope, receive, send = await asyncio.wait_for(application.opened.get(), DEADLINE)
        yield client, scope, receive, send


@asynccontextmanager
async def not_reading(
    application: Application, port: int
) -> AsyncIterator[tuple[Scope, Receive, Send]]:
    """A socket whose client says its handshake and then reads nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        yield await asyncio.wait_for(application.opened.get(), DEADLINE)


async def heard(client: ClientConnection) -> Any:
    return await asyncio.wait_for(client.recv(), DEADLINE)


async def test_written_and_sent_frames_arrive_in_order(application: Application, port: int) -> None:
    async with opened(application, port) as (client, scope, _, send):
        write = scope["extensions"]["chatire.write"]
        for number in range(0, 30, 3):
            assert write(framed(f"{number} ü"))
            await send({"type": "websocket.send", "text": f"{number + 1} ü"})
            assert write(framed(LARGE + f"{number + 2} ü"))
        assert [(await heard(client)).lstrip("x") for _ in range(30)] == [
            f"{number} ü" for number in range(30)
        ]


async def test_nothing_is_written_before_a_socket_is_accepted(
    application: Application, port: int
) -> None:
    async with opened(application, port) as (client, scope, _, _send):
        assert application.before is False
        assert scope["extensions"]["chatire.write"](framed("first"))
        assert await heard(client) == "first"


async def test_nothing_is_written_behind_a_close(application: Application, port: int) -> None:
    async with opened(application, port) as (client, scope, _, send):
        await send({"type": "websocket.close", "code": 4001})
        assert scope["extensions"]["chatire.write"](framed("late")) is False
        with pytest.raises(ConnectionClosed):
            await heard(client)
        assert client.close_code == 4001


async def test_nothing_is_written_to_a_client_that_is_gone(
    application: Application, port: int
) -> None:
    async with opened(application, port) as (client, scope, receive, _):
        client.transport.abort()
        gone = await asyncio.wait_for(receive(), DEADLINE)
        assert gone["type"] == "websocket.disconnect"
        assert scope["extensions"]["chatire.write"](framed("late")) is False


async def test_what_a_client_says_at_once_is_received_in_order(
    application: Application, port: int
) -> None:
    async with opened(application, port) as (client, _, receive, _send):
        for number in range(20):
            await client.send(str(number))
        got = [await asyncio.wait_for(receive(), DEADLINE) for _ in range(20)]
        assert [message["text"] for message in got] == [str(number) for number in range(20)]
        # And one that is awaited already.
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await client.send("later")
        assert (await asyncio.wait_for(waiting, DEADLINE))["text"] == "later"


async def test_a_client_that_does_not_read_is_written_no_more_until_it_does(
    application: Application, port: int
) -> None:
    async with opened(application, port) as (client, scope, _, send):
        client.transport.pause_reading()
        write, buffered = (scope["extensions"][f"chatire.{name}"] for name in ("write", "buffered"))
        written = 0
        while write(framed(LARGE)):
            written += 1
            assert written < 1000
        assert buffered() > 0
        waiting = asyncio.create_task(send({"type": "websocket.send", "text": "waited"}))
        await asyncio.sleep(0)
        assert not waiting.done()
        client.transport.resume_reading()
        for _ in range(written):
            assert await heard(client) == LARGE
        assert await heard(client) == "waited"
        await asyncio.wait_for(waiting, DEADLINE)
        assert buffered() == 0
        assert write(framed("again"))
        assert await heard(client) == "again"


def created(text: str = LARGE) -> dict[str, Any]:
    return {"type": "push", "kind": "message.created", "frame": json.dumps({"text": text})}


async def until_gone(receive: Receive) -> None:
    """Return once the server has dropped the client."""
    async with asyncio.timeout(DEADLINE):
        while (await receive())["type"] != "websocket.disconnect":
            pass


async def test_a_client_that_reads_nothing_is_dropped_when_too_many_bytes_wait(
    application: Application, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.socket.connection._CLOSE_TIMEOUT", 0.1)
    async with not_reading(application, port) as (scope, receive, send):
        connection = Connection(send, scope["extensions"])
        connection.open()
        for _ in range(1000):
            connection.put_event(created())
            await asyncio.sleep(0)
            if connection.ending:
                break
        assert connection.state is State.CLOSING
        waiting = len(connection.send_queue) * len(framed(created()["frame"]))
        assert 1_000_000 <= waiting < 1_000_000 + len(framed(created()["frame"]))
        await until_gone(receive)
        connection.ended()


async def test_a_client_that_takes_nothing_for_thirty_seconds_is_dropped(
    application: Application, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.socket.connection._CLOSE_TIMEOUT", 0.1)
    async with not_reading(application, port) as (scope, receive, send):
        connection = Connection(send, scope["extensions"])
        connection.open()
        while not len(connection.send_queue):
            connection.put_event(created())
        now = 100.0
        connection.ring(now)
        async with asyncio.timeout(DEADLINE):
            # The kernel may take a little more now and then, which is progress.
            while not connection.ending:
                now += 30
                connection.ring(now)
                await asyncio.sleep(0)
        await until_gone(receive)
        assert connection.state is State.CLOSING
        connection.ended()
