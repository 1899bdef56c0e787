"""Clients over the network: a browser's, a phone's. They believe only what they receive."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.protocol.frames import require_promised

DEADLINE = 60.0  # seconds


class Server(Protocol):
    """Where a server is: a stack, or a proxy in front of one."""

    url: str
    ws_url: str


@dataclass
class Reply:
    """A reply as a client renders it, from snapshot, deltas and the final row."""

    attempt: int = 0
    next_index: int = 0
    text: str = ""
    status: str = "pending"
    final: str | None = None
    deltas: int = 0


@dataclass
class Room:
    """A conversation as a client knows it. `faults` lists what no client should ever see."""

    seq: int = 0
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    replies: defaultdict[str, Reply] = field(default_factory=lambda: defaultdict(Reply))
    faults: list[str] = field(default_factory=list)
    heard: set[int] = field(default_factory=set)

    def load(self, changes: dict[str, Any]) -> None:
        """Take in the answer to a subscription."""
        for message in changes["messages"]:
            self._row(message)
        for snapshot in changes["snapshots"]:
            reply = self.replies[snapshot["message"]]
            reply.attempt, reply.next_index = snapshot["attempt"], snapshot["index"]
            reply.text, reply.status = snapshot["text"], "streaming"
        self.seq = changes["seq"]

    def event(self, frame: dict[str, Any]) -> None:
        """Take in an event."""
        if frame["type"] == "reply.delta":
            self._delta(frame)
        elif frame["type"] in {"message.created", "message.updated"}:
            if frame["seq"] in self.heard:
                self.faults.append(f"{frame['type']} {frame['seq']} twice")
            self.heard.add(frame["seq"])
            known = self.messages.get(frame["message"]["id"])
            # Publications of two processes may cross; each carries its row whole.
            if known is None or known["seq"] < frame["seq"]:
                self._row(frame["message"])
            self.seq = max(self.seq, frame["seq"])

    def _delta(self, frame: dict[str, Any]) -> None:
        reply = self.replies[frame["message"]]
        first = frame.get("first_index", frame["index"])
        if (
            frame["attempt"] != reply.attempt
            or first != reply.next_index
            or reply.final is not None
        ):
            self.faults.append(
                f"delta {frame['attempt']}/{first} where {reply.attempt}/{reply.next_index} was due"
            )
            return
        reply.text += frame["text"]
        reply.next_index = frame["index"] + 1
        reply.deltas += 1

    def _row(self, message: dict[str, Any]) -> None:
        self.messages[message["id"]] = message
        if message["role"] != "assistant":
            return
        reply = self.replies[message["id"]]
        if message["attempt"] > reply.attempt:
            reply.attempt, reply.next_index, reply.text = message["attempt"], 0, ""
        reply.status = message["status"]
        if message["status"] not in {"pending", "streaming"}:
            reply.final = message["content"]


class Device:
    """One socket of one person, with everything it was told."""

    # Benchmarks have no time for it.
    checks = True

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._changed = asyncio.Condition()
        self.rooms: dict[str, Room] = {}
        self.frames: list[dict[str, Any]] = []
        # What the server said that the AsyncAPI document does not promise.
        self.undocumented: list[str] = []
        self.close_code: int | None = None
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            async for text in self._connection:
                await self._hear(json.loads(text))
        except ConnectionClosed:
            pass
        async with self._changed:
            self.close_code = self._connection.close_code or 1006
            self._changed.notify_all()

    async def _hear(self, frame: dict[str, Any]) -> None:
        if self.checks:
            try:
                require_promised(frame)
            except AssertionError as error:
                self.undocumented.append(str(error))
        async with self._changed:
            self.frames.append(frame)
            if frame.get("changes"):
                room = self.rooms.setdefault(frame["changes"]["conversation"]["id"], Room())
                room.load(frame["changes"])
            elif frame.get("conversation") in self.rooms:
                self.rooms[frame["conversation"]].event(frame)
            answered = self._answers.pop(frame.get("id") or "", None)
            if answered is not None and not answered.done():
                answered.set_result(frame)
            if frame["type"] == "ping":
                await self._connection.send('{"type": "pong"}')
            self._changed.notify_all()

    async def command(self, type: str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        """Send a command and return its answer."""
        command_id = uuid4().hex
        future = asyncio.get_running_loop().create_future()
        self._answers[command_id] = future
        await self._connection.send(json.dumps({"type": type, "id": command_id, **fields}))
        return await asyncio.wait_for(future, DEADLINE)

    async def follow(self, conversation: str) -> Room:
        """Subscribe from a first load."""
        since = self.rooms[conversation].seq if conversation in self.rooms else None
        answer = await self.command("subscribe", conversation=conversation, since=since)
        assert answer["type"] == "ack", answer
        return self.rooms[conversation]

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait until what was heard makes `wanted` true."""
        try:
            async with asyncio.timeout(DEADLINE), self._changed:
                await self._changed.wait_for(wanted)
        except TimeoutError:
            faults = {name: room.faults for name, room in self.rooms.items()}
            last = [str(frame)[:300] for frame in self.frames[-8:]]
            closed = self.close_code
            raise AssertionError(f"never heard; {closed=} {faults=} {last=}") from None

    async def heard(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for a frame of this type with these fields, heard before or from now on."""

        def find() -> dict[str, Any] | None:
            for frame in self.frames:
                if frame["type"] == kind and all(frame.get(k) == v for k, v in fields.items()):
                    return frame
            return None

        await self.until(lambda: find() is not None)
        found = find()
        assert found is not None
        return found

    async def finished(self, conversation: str, message: str) -> Reply:
        """Wait until a reply has ended."""
        room = self.rooms[conversation]
        await self.until(lambda: room.replies[message].final is not None)
        return room.replies[message]

    async def drop(self) -> None:
        """Lose the connection without a word."""
        self._connection.transport.abort()
        await self._listening

    async def close(self) -> None:
        """Close properly."""
        await self._connection.close()
        await self._listening


class Person:
    """Somebody with an account, over REST, and the devices they connect."""

    def __init__(self, stack: Server, client: httpx.AsyncClient, signed_in: dict[str, Any]) -> None:
        self.stack = stack
        self.http = client
        self.token: str = signed_in["access"]
        self.refresh: str = signed_in["refresh"]
        self.user: dict[str, Any] = signed_in["user"]
        client.headers["Authorization"] = f"Bearer {self.token}"

    async def open_chat(self, **body: Any) -> str:
        """Open a conversation with the assistant; return its id."""
        answer = await self.http.post("/api/conversations/", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def say(self, conversation: str, content: str, **body: Any) -> dict[str, Any]:
        """Post a message; return the message and the reply."""
        answer = await self.http.post(
            f"/api/conversations/{conversation}/messages/",
            json={"client_id": uuid4().hex, "content": content, **body},
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def history(self, conversation: str) -> list[dict[str, Any]]:
        """Read the newest messages over REST."""
        answer = await self.http.get(f"/api/conversations/{conversation}/messages/")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    @contextlib.asynccontextmanager
    async def device(self, kind: str = "browser", path: str = "/ws/") -> AsyncIterator[Device]:
        """Connect as a browser (subprotocol), a phone (header) or a simple client (query)."""
        device = await self.connect(kind, path)
        try:
            yield device
        finally:
            await device.close()
        assert device.undocumented == []

    async def connect(self, kind: str = "browser", path: str = "/ws/") -> Device:
        """Connect; the caller closes."""
        url = self.stack.ws_url + path
        if kind == "browser":
            connection = await connect(
                url,
                subprotocols=["chatire.v1", f"bearer.{self.token}"],  # type: ignore[list-item]
                origin=self.stack.url,  # type: ignore[arg-type]
                max_size=None,
            )
            assert connection.subprotocol == "chatire.v1"
        elif kind == "phone":
            connection = await connect(
                url, additional_headers={"Authorization": f"Bearer {self.token}"}, max_size=None
            )
        else:
            joint = "&" if "?" in url else "?"
            connection = await connect(f"{url}{joint}token={self.token}", max_size=None)
        return Device(connection)


@contextlib.asynccontextmanager
async def person(stack: Server, name: str | None = None) -> AsyncIterator[Person]:
    """Register someone (without a name: a guest) and sign them in."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=DEADLINE) as client:
        if name is None:
            answer = await client.post("/api/auth/guest/", json={})
        else:
            answer = await client.post(
                "/api/auth/register/",
                json={"username": f"{name}-{uuid4().hex[:8]}", "password": "correct-horse-battery"},
            )
        assert answer.status_code == 201, answer.text
        yield Person(stack, client, answer.json())
