"""Reading frames, and carrying commands out one after another."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db.utils import InterfaceError, OperationalError

from channels_pgnotify import ListenError, PublishError
from chat.socket.command_queue import CommandQueue, Unreadable, decode
from chat.socket.connection import Connection, State, WrongState
from core.errors import RETRY_AFTER, Conflict
from protocol import limits
from protocol.commands import Pong
from protocol.frames import Command
from protocol.limits import CloseCode

DEADLINE = 10.0  # seconds


class Client:
    """What a connection sends, and how it is closed."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed: list[tuple[int, str]] = []
        self.ended = asyncio.Event()
        self.asked = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = False

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            self.closed.append((message["code"], message["reason"]))
            self.ended.set()
            return
        self.asked.set()
        await self.reads.wait()
        if self.gone:
            raise OSError
        self.heard.put_nowait(json.loads(message["text"]))

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.heard.get(), DEADLINE)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
async def connection(client: Client) -> AsyncIterator[Connection]:
    made = Connection(client.send, {})
    made.open()
    yield made
    made.ended()


def ping(command_id: str) -> dict[str, str]:
    return {"type": "ping", "id": command_id}


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, PublishError, ListenError])
async def test_a_command_that_meets_an_absent_database_may_be_sent_again(
    client: Client, connection: Connection, error: type[Exception]
) -> None:
    async def fail(command: Command) -> None:
        raise error

    queue = CommandQueue(connection, fail)
    for command_id in ("1", "2"):
        queue.put(ping(command_id))
        assert await client.next() == {
            "type": "error",
            "id": command_id,
            "code": "unavailable",
            "message": "The service is briefly unavailable. Try again.",
            "details": {"retry_after": RETRY_AFTER},
        }


async def test_a_refused_command_is_answered_and_the_next_carried_out(
    client: Client, connection: Connection
) -> None:
    done: asyncio.Queue[str] = asyncio.Queue()

    async def handle(command: Command) -> None:
        if command.id == "1":
            raise Conflict("Not now.", most=3)
        done.put_nowait(command.id)

    queue = CommandQueue(connection, handle)
    queue.put(ping("1"))
    queue.put(ping("2"))
    refused = await client.next()
    assert (refused["id"], refused["code"], refused["message"]) == ("1", "conflict", "Not now.")
    assert refused["details"] == {"most": 3}
    assert await asyncio.wait_for(done.get(), DEADLINE) == "2"


async def test_no_more_commands_wait_than_may(client: Client, connection: Connection) -> None:
    began, done = asyncio.Event(), asyncio.Event()

    async def handle(command: Command) -> None:
        began.set()
        await done.wait()

    queue = CommandQueue(connection, handle)
    queue.put(ping("carried out"))
    await asyncio.wait_for(began.wait(), DEADLINE)
    for number in range(limits.MAX_WAITING_COMMANDS):
        queue.put(ping(str(number)))
    assert client.heard.empty()
    queue.put(ping("one more"))
    refused = await client.next()
    assert (refused["id"], refused["code"]) == ("one more", "too_many_commands")


async def test_a_command_waits_until_the_answers_before_it_are_on_their_way(
    client: Client, connection: Connection
) -> None:
    """Answers may be large, so a client that does not read them gets no more of them."""
    done: list[str] = []
    last = asyncio.Event()

    async def handle(command: Command) -> None:
        done.append(command.id)
        connection.put(Pong(id=command.id))
        if command.id == "2":
            last.set()

    client.reads.clear()
    queue = CommandQueue(connection, handle)
    queue.put(ping("1"))
    queue.put(ping("2"))
    await asyncio.wait_for(client.asked.wait(), DEADLINE)
    for _ in range(10):
        await asyncio.sleep(0)  # lets everything go on that can
    assert done == ["1"]
    client.reads.set()
    await asyncio.wait_for(last.wait(), DEADLINE)
    assert done == ["1", "2"]


async def test_commands_that_come_after_all_were_answered_are_carried_out(
    client: Client, connection: Connection
) -> None:
    async def handle(command: Command) -> None:
        connection.put(Pong(id=command.id))

    queue = CommandQueue(connection, handle)
    for command_id in ("1", "2"):
        queue.put(ping(command_id))
        assert (await client.next())["id"] == command_id


async def test_a_fault_of_ours_closes_the_socket(client: Client, connection: Connection) -> None:
    async def fail(command: Command) -> None:
        raise ZeroDivisionError

    queue = CommandQueue(connection, fail)
    queue.put(ping("1"))
    await asyncio.wait_for(client.ended.wait(), DEADLINE)
    assert client.closed == [(1011, "internal")]
    assert connection.ending


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, CloseCode.NOT_JSON),
        ("", CloseCode.NOT_JSON),
        ("{", CloseCode.NOT_JSON),
        ("[" * 50_000, CloseCode.NOT_JSON),
        ('"' + "x" * (limits.MAX_FRAME_BYTES - 1) + '"', CloseCode.TOO_BIG),
        ('"' + "é" * (limits.MAX_FRAME_BYTES // 2) + '"', CloseCode.TOO_BIG),
    ],
)
def test_what_is_no_frame_closes_the_socket(text: str | None, code: CloseCode) -> None:
    with pytest.raises(Unreadable) as unreadable:
        decode(text)
    assert unreadable.value.code == code


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_frame_of_just_the_size_is_read(letter: str) -> None:
    text = letter * ((limits.MAX_FRAME_BYTES - 2) // len(letter.encode()))
    assert decode(f'"{text}"') == text


async def test_a_connection_is_opened_once(connection: Connection) -> None:
    assert connection.state is State.OPEN
    with pytest.raises(WrongState, match="should be connecting is open"):
        connection.open()


async def test_what_is_put_once_a_socket_closes_is_not_sent(
    client: Client, connection: Connection
) -> None:
    await connection.shut(CloseCode.RESTARTING, "restarting")
    connection.put_error(None, "too_late", "Too late.", {})
    await connection.shut(CloseCode.INTERNAL, "internal")
    assert client.closed == [(1012, "restarting")]
    assert client.heard.empty()


async def test_a_client_that_is_gone_is_sent_nothing_more(
    client: Client, connection: Connection
) -> None:
    client.gone = True
    for _ in range(3):
        connection.put_error(None, "x", "x", {})
    await asyncio.wait_for(connection.send_queue.drained(), DEADLINE)
    assert connection.state is State.CLOSED
    assert client.closed == []
