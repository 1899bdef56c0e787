"""Processes that stop, and connections that are cut: what people see of it."""

import asyncio
import signal
import socket
from collections.abc import Callable
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.acceptance.client import Person, person
from tests.acceptance.stack import Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

StartStack = Callable[..., Stack]


def terminate_listeners(stack: Stack) -> int:
    """Cut every LISTEN connection of the channel layer in Postgres; return how many."""
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'chatire listen'"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("over_postgres")
async def test_a_cut_listen_connection_is_noticed_and_nothing_is_lost(stack: Stack) -> None:
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        sent = await guest.say(chat, f"Go {directive(tokens=200, seed=21)}")
        reply_id = sent["reply"]["id"]
        await browser.until(lambda: room.replies[reply_id].deltas >= 10)

        assert terminate_listeners(stack) >= 1
        await browser.heard("resync")
        room = await browser.follow(chat)

        reply = await browser.finished(chat, reply_id)
        assert reply.final == expected_text(21, 200)
        assert reply.final.startswith(reply.text)


async def test_a_stopping_socket_server_sends_its_clients_away_and_cuts_no_reply(
    start_stack: StartStack,
) -> None:
    stack = start_stack(WS_DRAIN_SECONDS="0.5")
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        sent = await guest.say(chat, f"Go {directive(tokens=150, seed=22)}")
        reply_id = sent["reply"]["id"]
        await browser.until(lambda: room.replies[reply_id].deltas >= 3)

        assert await asyncio.to_thread(stack["ws"].stop) in (0, 128 + signal.SIGTERM, -15)

        told = await browser.heard("reconnect")
        assert 0 <= told["after_ms"] <= 500
        await browser.until(lambda: browser.close_code is not None)
        assert browser.close_code == 1012

        await asyncio.to_thread(stack.restart, "ws")
        async with guest.device() as again:
            again.rooms[chat] = room
            room = await again.follow(chat)
            reply = await again.finished(chat, reply_id)
            assert reply.final == expected_text(22, 150)
            # It may have ended meanwhile; then the row has the rest.
            assert reply.final.startswith(reply.text)


async def test_a_killed_worker_loses_its_reply_to_another_and_text_starts_afresh(
    start_stack: StartStack,
) -> None:
    stack = start_stack(workers=2)
    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat()
        room = await browser.follow(chat)
        sent = await guest.say(chat, f"Go {directive(tokens=400, seed=23)}")
        reply_id = sent["reply"]["id"]
        await browser.until(lambda: room.replies[reply_id].deltas >= 5)
        victim = await asyncio.to_thread(streaming_worker, stack)

        await asyncio.to_thread(stack[victim].kill)

        await browser.until(lambda: room.replies[reply_id].attempt == 2)
        reply = await browser.finished(chat, reply_id)
        assert reply.status == "complete"
        assert reply.text == reply.final == expected_text(23, 400)
        assert room.faults == []


async def test_a_stop_from_a_device_that_has_just_come_back_keeps_the_text_so_far(
    stack: Stack,
) -> None:
    """Losing the connection stops nothing; whoever comes back does, by a later socket."""
    async with person(stack) as guest:
        first = await guest.connect("phone")
        chat = await guest.open_chat()
        room = await first.follow(chat)
        sent = await guest.say(chat, f"On and on {directive(tokens=5000, seed=24)}")
        reply_id = sent["reply"]["id"]
        await first.until(lambda: room.replies[reply_id].deltas >= 5)
        await first.drop()

        async with guest.device("phone") as again:
            again.rooms[chat] = room
            room = await again.follow(chat)
            shown = len(room.replies[reply_id].text)
            await again.until(lambda: len(room.replies[reply_id].text) > shown)
            assert (await again.command("reply.stop", message=reply_id))["type"] == "ack"
            reply = await again.finished(chat, reply_id)
    assert reply.status == "cancelled"
    assert reply.final == reply.text
    assert expected_text(24, 5000).startswith(reply.final or "?")


def streaming_worker(stack: Stack) -> str:
    """Return the name of the worker that has a reply under its hands."""
    import urllib.request

    for name, process in stack.processes.items():
        if not name.startswith("worker"):
            continue
        url = process.health.replace("/health/", "/metrics")
        with urllib.request.urlopen(url, timeout=5) as answer:
            metrics = answer.read().decode()
        for line in metrics.splitlines():
            if line.startswith("chatire_replies_active") and float(line.split()[-1]) > 0:
                return name
    raise AssertionError("no worker has an active reply")


async def test_a_client_that_stops_reading_is_cut_off_and_slows_no_one(stack: Stack) -> None:
    async with person(stack) as guest, guest.device() as reading:
        chat = await guest.open_chat(kind="group", title="Loud")
        deaf = await _deaf(guest, chat)
        room = await reading.follow(chat)
        # More than the socket's buffers and the outbox hold.
        for number in range(330):
            await guest.say(chat, f"{number} " + "x" * 30_000)

        await reading.until(lambda: len(room.messages) == 330)
        assert room.faults == []
        assert reading.close_code is None
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(_read_to_the_end(deaf), 60)


async def _deaf(guest: Person, chat: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a socket by hand, on which nothing is read after the handshake."""
    deaf = socket.socket()
    # Small, so that the server's own buffers, not the kernel's, are what fills.
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", guest.stack.ws_port))
    reader, writer = await asyncio.open_connection(sock=deaf, limit=1024)
    writer.write(
        f"GET /ws/conversations/{chat}/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {guest.token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _read_to_the_end(deaf: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Read what is there; a cut connection raises, an orderly end would not."""
    reader, writer = deaf
    try:
        while await reader.read(65536):
            pass
        raise asyncio.IncompleteReadError(b"", None)
    finally:
        writer.close()


# What a process writes when something happened to it that nobody had thought of.
_UNFORESEEN = ("Traceback", "socket_failed", "never retrieved", "in on_commit", "Exception in ASGI")


@pytest.fixture
def unforeseen(stack: Stack) -> Callable[[], list[str]]:
    """`unforeseen()`: what the logs say of it since the test began."""
    began = {name: process.log.stat().st_size for name, process in stack.processes.items()}

    def lines() -> list[str]:
        return [
            f"{name}: {line[:300]}"
            for name, process in stack.processes.items()
            for line in process.log.read_bytes()[began[name] :].decode().splitlines()
            if any(word in line for word in _UNFORESEEN)
        ]

    return lines


@pytest.mark.parametrize("last", ["hello", "ping", "nothing"])
async def test_clients_that_merely_leave_are_no_fault_of_the_server(
    stack: Stack, unforeseen: Callable[[], list[str]], last: str
) -> None:
    async with person(stack) as guest:
        chat = await guest.open_chat()
        for number in range(20):
            reader, writer = await _deaf(guest, chat)
            if last == "hello":
                await reader.readuntil(b'"hello"')
            if last == "ping":
                writer.write(_text_frame('{"type": "ping", "id": "1"}'))
            if number % 2:
                writer.transport.abort()
            else:
                writer.write(_CLOSE_FRAME)
                writer.close()
        await _until_no_socket_is_open(stack)
        # Whoever stays is served as ever.
        async with guest.device() as device:
            assert (await device.command("ping"))["type"] == "pong"
    assert unforeseen() == []


def _text_frame(text: str) -> bytes:
    """A masked text frame of a client; its mask is zero."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


_CLOSE_FRAME = bytes([0x88, 0x82, 0, 0, 0, 0]) + (1000).to_bytes(2, "big")


async def _until_no_socket_is_open(stack: Stack) -> None:
    url = stack["ws"].health.replace("/health/", "/metrics")
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while "\nchatire_sockets_open 0.0\n" not in (await client.get(url)).text:
            pass


async def test_sessions_ended_by_the_database_leave_warnings_and_nothing_worse(
    stack: Stack, unforeseen: Callable[[], list[str]]
) -> None:
    async with person(stack) as guest, guest.device() as device:
        chat = await guest.open_chat(kind="group", title="Busy")
        await device.follow(chat)
        stored = asyncio.Semaphore(0)
        talking = [asyncio.create_task(_keep_talking(guest, chat, stored)) for _ in range(4)]
        for _ in range(8):
            terminate_every_session(stack)
            for _ in range(10):
                await asyncio.wait_for(stored.acquire(), 30)
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
    assert unforeseen() == []


async def _keep_talking(guest: Person, chat: str, stored: asyncio.Semaphore) -> None:
    while True:
        body = {"client_id": str(uuid4()), "content": "still there"}
        answer = await guest.http.post(f"/api/conversations/{chat}/messages/", json=body)
        assert answer.status_code in (201, 503), answer.text
        if answer.status_code == 201:
            stored.release()


def terminate_every_session(stack: Stack) -> None:
    """End all sessions of the stack's database, as a failover does."""
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
