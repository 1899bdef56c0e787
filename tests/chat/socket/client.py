"""A socket client for tests: it waits for what it expects, with a deadline, and keeps the rest."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from asgiref.testing import ApplicationCommunicator

from accounts.models import User
from chat.models import Conversation
from chatire.asgi import application
from tests.protocol.frames import require_promised

DEADLINE = 10.0  # seconds

Token = Callable[[User], str]


def key(conversation: Conversation) -> str:
    """The conversation's id as frames carry it."""
    return str(conversation.pk)


class Socket:
    """A client connected in-process, through the same middleware and routes as over the network."""

    def __init__(
        self,
        token: str | None,
        path: str = "/ws/",
        *,
        subprotocols: Sequence[str] = (),
        extensions: dict[str, Any] | None = None,
        **headers: str,
    ) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        if token is not None:
            pairs.append((b"authorization", f"Bearer {token}".encode()))
        route, _, query = path.partition("?")
        scope = {
            "type": "websocket",
            "path": route,
            "query_string": query.encode(),
            "headers": pairs,
            "subprotocols": list(subprotocols),
            "extensions": extensions or {},
        }
        self._communicator = ApplicationCommunicator(application, scope)
        self.seen: list[dict[str, Any]] = []
        # Read while waiting for the answer to a command, and still to be looked at.
        self._aside: list[dict[str, Any]] = []
        self.closed: dict[str, Any] | None = None

    async def __aenter__(self) -> "Socket":
        await self._communicator.send_input({"type": "websocket.connect"})
        accepted = await self._communicator.receive_output(timeout=DEADLINE)
        assert accepted["type"] == "websocket.accept", accepted
        self.subprotocol = accepted.get("subprotocol")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._communicator.send_input({"type": "websocket.disconnect", "code": 1005})
        await self._communicator.wait(timeout=DEADLINE)

    async def send(self, **frame: Any) -> None:
        """Send a frame as JSON."""
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        """Send a frame as it is."""
        await self._communicator.send_input({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary frame."""
        await self._communicator.send_input({"type": "websocket.receive", "bytes": data})

    async def next(self) -> dict[str, Any]:
        """Return the next frame, or `{"type": "closed", …}`."""
        if self._aside:
            return self._aside.pop(0)
        return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        output = await self._communicator.receive_output(timeout=DEADLINE)
        if output["type"] == "websocket.close":
            self.closed = {"type": "closed", "code": output["code"], "reason": output["reason"]}
            return self.closed
        frame: dict[str, Any] = json.loads(output["text"])
        require_promised(frame)
        self.seen.append(frame)
        return frame

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read on until a frame of this type with these fields, and return it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                frame = await self.next()
                wanted = {"type": kind, **fields}
                if all(frame.get(name) == value for name, value in wanted.items()):
                    return frame
                assert frame["type"] != "closed", frame

    async def close_code(self) -> tuple[int, str]:
        """Read on until the server closes; return its code and reason."""
        while (frame := await self.next())["type"] != "closed":
            pass
        return frame["code"], frame["reason"]

    async def command(self, type: str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        """Send a command and return its one answer."""
        command_id = uuid4().hex
        await self.send(type=type, id=command_id, **fields)
        async with asyncio.timeout(DEADLINE):
            while True:
                frame = await self._receive()
                if frame.get("id") == command_id:
                    return frame
                assert frame["type"] != "closed", frame
                self._aside.append(frame)
