"""WebSocket clients off the shelf: each chats, by each way of giving a token that it has."""

import asyncio
import json
import os
import shutil
import struct
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websocket

from tests.acceptance.client import DEADLINE, person
from tests.acceptance.stack import ROOT, Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

NODE_MODULES = ROOT / "frontend" / "node_modules"
SCRIPT = Path(__file__).with_name("foreign_clients") / "chat.mjs"
# A Node.js that came as a wheel goes before the machine's.
PATH = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
SEED, TOKENS = 11, 12
TEXT = expected_text(SEED, TOKENS)


@dataclass
class Door:
    """Where a client is to connect, with a token in one of its three places."""

    url: str
    chat: str
    content: str
    headers: dict[str, str] = field(default_factory=dict)
    subprotocols: list[str] = field(default_factory=list)


class Talk:
    """What is said over a connection, whoever's it is; `reply` is None until it has ended."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._subscribed = "/conversations/" in door.url
        self._reply_id = ""
        self.streamed = ""
        self.reply: str | None = None

    def answer(self, text: str) -> str | None:
        """Take in a frame; return the one that answers it, if any does."""
        frame = json.loads(text)
        match frame["type"], frame.get("id"):
            case "hello", _ if not self._subscribed:
                return self._command("subscribe")
            case "ack", "subscribe":
                content = self._door.content
                return self._command("message.send", client_id="foreign", content=content)
            case "ack", "message.send":
                self._reply_id = frame["reply"]["id"]
            case "reply.delta", _ if frame["message"] == self._reply_id:
                self.streamed += frame["text"]
            case "message.updated", _ if frame["message"]["finish_reason"]:
                self.reply = frame["message"]["content"]
            case "ping", _:
                return '{"type": "pong"}'
            case "error", _:
                raise AssertionError(frame)
        return None

    def _command(self, kind: str, **fields: Any) -> str:
        return json.dumps({"type": kind, "id": kind, "conversation": self._door.chat, **fields})

    def told(self, closed: int, **more: Any) -> dict[str, Any]:
        """Return what was received, and how the connection was closed."""
        return {"streamed": self.streamed, "reply": self.reply, "closed": closed, **more}


def chat_by_websocket_client(door: Door) -> dict[str, Any]:
    """Chat with https://pypi.org/project/websocket-client/."""
    talk = Talk(door)
    connection = websocket.create_connection(
        door.url, header=door.headers, subprotocols=door.subprotocols, timeout=DEADLINE
    )
    try:
        while talk.reply is None:
            said = talk.answer(connection.recv())
            if said is not None:
                connection.send(said)
        connection.send_close(1000)
        opcode, data = websocket.ABNF.OPCODE_TEXT, b""
        while opcode != websocket.ABNF.OPCODE_CLOSE:
            opcode, data = connection.recv_data(control_frame=True)
    finally:
        connection.shutdown()
    closed: int = struct.unpack("!H", data[:2])[0]
    return talk.told(closed, protocol=connection.getsubprotocol())


async def chat_by_aiohttp(door: Door) -> dict[str, Any]:
    """Chat with aiohttp's client."""
    talk = Talk(door)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            door.url, headers=door.headers, protocols=door.subprotocols
        ) as connection,
    ):
        while talk.reply is None:
            said = talk.answer(await connection.receive_str(timeout=DEADLINE))
            if said is not None:
                await connection.send_str(said)
        await connection.close(code=1000)
    return talk.told(connection.close_code or 0, protocol=connection.protocol)


async def chat_by_websocat(door: Door) -> dict[str, Any]:
    """Chat through the pipes of websocat; it ends with 0 only if the close was clean."""
    options = [f"-H={name}: {value}" for name, value in door.headers.items()]
    if door.subprotocols:
        options.append(f"--protocol={', '.join(door.subprotocols)}")
    talk = Talk(door)
    process = await asyncio.create_subprocess_exec(
        *("websocat", "--text", "--exit-on-eof", "--close-status-code=1000", *options, door.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
        env={**os.environ, "PATH": PATH},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while talk.reply is None:
                line = await process.stdout.readline()
                assert line, "it ended"
                said = talk.answer(line.decode())
                if said is not None:
                    process.stdin.write(f"{said}\n".encode())
            process.stdin.close()
            closed = 1000 if await process.wait() == 0 else 1006
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return talk.told(closed)


def by_node(client: str) -> Callable[[Door, Path], dict[str, Any]]:
    """A chat with an npm package."""

    def chat(door: Door, folder: Path) -> dict[str, Any]:
        # A module's packages are looked for beside it.
        (folder / "node_modules").symlink_to(NODE_MODULES)
        shutil.copy(SCRIPT, folder)
        assert set(door.headers) <= {"Authorization"}
        done = subprocess.run(
            ["node", SCRIPT.name, client, door.url, door.chat, door.content, *door.subprotocols],
            cwd=folder,
            env={
                **os.environ,
                "PATH": PATH,
                "AUTHORIZATION": door.headers.get("Authorization", ""),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return dict(json.loads(done.stdout))

    return chat


async def chat_by(client: str, door: Door, folder: Path) -> dict[str, Any]:
    """Chat with a client by its name."""
    if client == "aiohttp":
        return await chat_by_aiohttp(door)
    if client == "websocket-client":
        return await asyncio.to_thread(chat_by_websocket_client, door)
    if client == "websocat":
        if shutil.which("websocat", path=PATH) is None:
            pytest.skip("there is no websocat on this machine; it is a program of its own")
        return await chat_by_websocat(door)
    if shutil.which("node", path=PATH) is None or not (NODE_MODULES / client).is_dir():
        assert "CI" not in os.environ
        pytest.skip("the frontend's packages are not installed")
    return await asyncio.to_thread(by_node(client), door, folder)


def sockets(stack: Stack, sample: str) -> float:
    """What the socket server counts: the sum of a metric's samples."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.ws_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))


def is_failure(line: str) -> bool:
    """Whether a line of a log tells of an error; what a server says itself is no JSON."""
    if line.startswith("{"):
        return json.loads(line)["level"] in {"error", "critical"}
    return line.startswith(("ERROR", "CRITICAL", "Traceback"))


@pytest.fixture
def unharmed(stack: Stack) -> Iterator[Stack]:
    """The stack; it must have closed no socket, and nothing may have failed in it, afterwards."""
    began = {process.log: process.log.stat().st_size for process in stack.processes.values()}
    opened, closes = sockets(stack, "chatire_sockets_open"), sockets(stack, "chatire_socket_closes")
    yield stack
    deadline = time.monotonic() + DEADLINE
    while sockets(stack, "chatire_sockets_open") > opened:
        assert time.monotonic() < deadline
    assert sockets(stack, "chatire_socket_closes") == closes
    said = [
        line
        for log, start in began.items()
        for line in log.read_bytes()[start:].decode(errors="replace").splitlines()
    ]
    assert [line for line in said if is_failure(line)] == []


ALL = ("header", "subprotocol", "query")
CLIENTS = {
    "websocket-client": ALL,
    "aiohttp": ALL,
    "ws": ALL,
    # As a browser's, it sends no headers of one's own.
    "partysocket": ("subprotocol", "query"),
    "websocat": ALL,
}


@pytest.mark.parametrize(
    ("client", "place"), [(client, place) for client, places in CLIENTS.items() for place in places]
)
async def test_a_client_off_the_shelf_chats_with_its_token_in(
    unharmed: Stack, tmp_path: Path, client: str, place: str
) -> None:
    async with person(unharmed) as guest:
        chat = await guest.open_chat()
        url = f"{unharmed.ws_url}/ws/conversations/{chat}/"
        door = Door(url, chat, f"Tell me {directive(tokens=TOKENS, seed=SEED)}")
        if place == "header":
            door.headers = {"Authorization": f"Bearer {guest.token}"}
        elif place == "subprotocol":
            door.subprotocols = ["chatire.v1", f"bearer.{guest.token}"]
            # This one subscribes by itself.
            door.url = f"{unharmed.ws_url}/ws/"
        else:
            door.url += f"?token={guest.token}"

        told = await chat_by(client, door, tmp_path)

        # Websocat does not say which one was selected.
        if client != "websocat":
            assert (told.pop("protocol") or None) == next(iter(door.subprotocols), None)
        assert told == {"streamed": TEXT, "reply": TEXT, "closed": 1000}
        assert [row["content"] for row in await guest.history(chat)] == [door.content, TEXT]
