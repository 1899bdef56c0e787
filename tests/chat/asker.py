"""Who asks a model, and servers that answer as no model should."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from chat.llm import (
    Delta,
    Finish,
    ModelSpec,
    Timeouts,
    Turn,
    stream_reply,
)
from tests.fakes.openai_server import RunningServer


class Asker:
    """Asks the fake model and keeps what came."""

    def __init__(self, server: RunningServer) -> None:
        self.spec = ModelSpec("fake-1", server.base_url, "key")
        self.deltas: list[Delta] = []

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(delta.reasoning for delta in self.deltas)

    async def ask(self, prompt: str, *, timeouts: Timeouts | None = None) -> Finish:
        self.deltas = []
        finishes = []
        turns = [Turn("user", prompt)]
        async for item in stream_reply(self.spec, turns, timeouts=timeouts):
            if isinstance(item, Delta):
                assert not finishes
                self.deltas.append(item)
            else:
                finishes.append(item)
        [finish] = finishes
        return finish


@contextlib.asynccontextmanager
async def one_answer(
    body: bytes, head: bytes | None = None, length: int | None = None
) -> AsyncIterator[str]:
    """A server that answers any request with these bytes, and may have promised more of them."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            head
            or b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n"
            % (len(body) if length is None else length)
        )
        writer.write(body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
