"""The server's side of a socket: the straight way, and clients that do not read or do not ask."""

import asyncio
import json
import logging
import re
import shlex
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from chat.socket.connection import Connection, State
from chat.socket.send_queue import framed
from chatire.websocket import HandshakeProtocol, HeaderDeadline, SocketProtocol
from tests.acceptance.stack import procfile

DEADLINE = 10.0  # seconds
LARGE = "x" * 100_000
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """Accepts sockets and leaves them to the test; answers a request when it `may_answer`."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.opened: asyncio.Queue[tuple[Scope, Receive, Send]] = asyncio.Queue()
        self.before: bool | None = None
        self.leave = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.asked.set()
            await self.may_answer.wait()
            headers = [(b"content-length", b"8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"answered"})
            return
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


@asynccontextmanager
async def serving(application: Application, protocol: Callable[..., Any]) -> AsyncIterator[int]:
    """A server's port."""
    config = Config(
        application,
        ws=SocketProtocol,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_keep_alive=600,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    application.leave.set()
    application.may_answer.set()
    server.close()
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(state.tasks, timeout=DEADLINE)


@pytest.fixture
async def port(application: Application) -> AsyncIterator[int]:
    """Of a server of nothing but sockets."""
    async with serving(application, SocketProtocol) as port:
        yield port


class OnH11(HeaderDeadline, H11Protocol):
    """Where httptools is missing."""


class OnHttptools(HeaderDeadline, HttpToolsProtocol):
    """Where it is not."""


@pytest.fixture(params=[OnHttptools, OnH11])
async def impatient_port(
    application: Application, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """Of a server that waits for a request as long as a test can wait."""
    monkeypatch.setattr("chatire.websocket.HANDSHAKE_SECONDS", 0.3)
    async with serving(application, request.param) as port:
        yield port


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


async def test_a_socket_that_opens_and_closes_is_no_line_of_the_servers_log(
    application: Application,
    port: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As `chatire.logs` has it.
    monkeypatch.setattr(logging.getLogger("uvicorn.error.websocket"), "level", logging.WARNING)
    # Uvicorn keeps what it says from the root's handlers.
    log = logging.getLogger("uvicorn.error")
    log.addHandler(caplog.handler)
    try:
        async with opened(application, port) as (client, *_):
            await client.close()
    finally:
        log.removeHandler(caplog.handler)
    assert not caplog.records


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


@asynccontextmanager
async def client_of(
    port: int, *said: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has said this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.writelines(said)
        yield reader, writer
    finally:
        writer.transport.abort()


async def until_dropped(reader: asyncio.StreamReader) -> bytes:
    """What comes before the server drops the connection."""
    heard = b""
    async with asyncio.timeout(DEADLINE):
        with suppress(ConnectionResetError):
            while more := await reader.read(65536):
                heard += more
    return heard


async def one_is_dropped(port: int) -> None:
    """Return once a connection that was made now, and says nothing, was dropped."""
    async with client_of(port) as (reader, _):
        assert await until_dropped(reader) == b""


@pytest.mark.parametrize("said", [b"", b"G", HEAD, HEAD + b"Upgrade: websocket\r\n"])
async def test_whoever_never_ends_the_head_of_a_request_is_dropped(
    application: Application, impatient_port: int, said: bytes
) -> None:
    async with client_of(impatient_port, said) as (reader, _):
        assert await until_dropped(reader) == b""
    assert not application.asked.is_set()


async def test_a_head_that_comes_byte_by_byte_is_given_no_more_time(impatient_port: int) -> None:
    async with client_of(impatient_port, HEAD) as (reader, writer):
        dropped = asyncio.create_task(until_dropped(reader))
        while not dropped.done():
            writer.write(b"x")
            await asyncio.wait([dropped], timeout=0.01)
        assert await dropped == b""


async def test_connections_are_dropped_each_in_its_turn(impatient_port: int) -> None:
    async with client_of(impatient_port) as (first, _):
        async with client_of(impatient_port):
            pass
        async with client_of(impatient_port, HEAD) as (second, _):
            await until_dropped(first)
            await one_is_dropped(impatient_port)
            assert second.at_eof() or await until_dropped(second) == b""
    # And when there was none for a while.
    await one_is_dropped(impatient_port)


async def test_whoever_asks_again_and_again_makes_no_one_else_wait(
    application: Application, impatient_port: int
) -> None:
    application.may_answer.set()
    async with client_of(impatient_port, HEAD, b"\r\n") as (asking, writer):
        await asyncio.wait_for(asking.readuntil(b"answered"), DEADLINE)
        silent = asyncio.create_task(one_is_dropped(impatient_port))
        while not silent.done():
            writer.writelines([HEAD, b"\r\n"])
            await asyncio.wait_for(asking.readuntil(b"answered"), DEADLINE)
            await asyncio.wait([silent], timeout=0.01)
        await silent


def test_what_waited_in_an_event_loop_that_has_ended_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def one_is_answered() -> None:
        application = Application()
        application.may_answer.set()
        async with (
            serving(application, HandshakeProtocol) as port,
            client_of(port, HEAD, b"\r\n") as (reader, _),
        ):
            await asyncio.wait_for(reader.readuntil(b"answered"), DEADLINE)

    async def another_is_dropped() -> None:
        async with serving(Application(), HandshakeProtocol) as port:
            await one_is_dropped(port)

    asyncio.run(one_is_answered())
    monkeypatch.setattr("chatire.websocket.HANDSHAKE_SECONDS", 0.3)
    asyncio.run(another_is_dropped())


async def test_a_request_may_take_as_long_as_its_answer_takes(
    application: Application, impatient_port: int
) -> None:
    async with client_of(impatient_port, HEAD, b"\r\n") as (reader, _):
        await asyncio.wait_for(application.asked.wait(), DEADLINE)
        await one_is_dropped(impatient_port)
        application.may_answer.set()
        answer = await asyncio.wait_for(reader.readuntil(b"answered"), DEADLINE)
        assert answer.startswith(b"HTTP/1.1 200 ")
        # Now for the next one.
        assert await until_dropped(reader) == b""


async def test_what_follows_an_answer_has_its_time_from_then_on(
    application: Application, impatient_port: int
) -> None:
    application.may_answer.set()
    body = b"Content-Length: 100000\r\n\r\n"
    async with client_of(impatient_port, HEAD, b"\r\n") as (reader, writer):
        await asyncio.wait_for(reader.readuntil(b"answered"), DEADLINE)
        writer.writelines([HEAD, body])
        await asyncio.wait_for(reader.readuntil(b"answered"), DEADLINE)
        dropped = asyncio.create_task(until_dropped(reader))
        while not dropped.done():
            writer.write(b"x")
            await asyncio.wait([dropped], timeout=0.01)


async def test_an_open_socket_is_not_waited_for(
    application: Application, impatient_port: int
) -> None:
    async with opened(application, impatient_port) as (client, scope, _, _send):
        await one_is_dropped(impatient_port)
        assert scope["extensions"]["chatire.write"](framed("still here"))
        assert await heard(client) == "still here"


def test_the_procfile_starts_a_server_with_these_protocols() -> None:
    command = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", procfile()["ws"])
    context = uvicorn.main.make_context("uvicorn", shlex.split(command)[3:])
    config = Config(**{name: context.params[name] for name in ("app", "http", "ws")})
    config.load()
    assert (config.http_protocol_class, config.ws_protocol_class) == (
        HandshakeProtocol,
        SocketProtocol,
    )
