"""HTTP clients, kept per event loop, and the LangChain model over them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import httpx2
import openai
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from chat.llm.chunks import Chunk, read_chunk
from chat.llm.spec import ModelSpec, Timeouts, Turn

_MAX_CONNECTIONS = 1000
_MAX_IDLE_CONNECTIONS = 200
_IDLE_SECONDS = 5.0  # below the idle time-out of common servers, which would race our requests
_WRITE_SECONDS = 30.0

_MESSAGES: Mapping[str, type[BaseMessage]] = {
    "system": SystemMessage,
    "user": HumanMessage,
    "assistant": AIMessage,
}
# Stands in for the message of every chunk, of which nothing is read.
_EMPTY_MESSAGE = AIMessageChunk(content="")
# Under this name LangChain's chunks carry ours.
_CHUNK = "chunk"


class Endpoint:
    """One provider under one key: its HTTP client, and what was learnt about it."""

    def __init__(self, base_url: str | None, api_key: str) -> None:
        # aiohttp is the transport that the SDK offers for concurrency: measured here at 50
        # streams of 50 tokens/s, 33 µs of CPU per token against httpx2's own 98 µs.
        self.client = openai.AsyncOpenAI(
            base_url=base_url,
            # Servers without authentication take any key, but a header cannot be empty.
            api_key=api_key or "none",
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(
                limits=httpx2.Limits(
                    max_connections=_MAX_CONNECTIONS,
                    max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
                    keepalive_expiry=_IDLE_SECONDS,
                )
            ),
        )
        # Models here that refuse a request with `stream_options`.
        self.without_stream_options: set[str] = set()


_Pool = dict[tuple[str | None, str], Endpoint]
_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()


def endpoint_for(spec: ModelSpec) -> Endpoint:
    """The endpoint of `spec` in the running loop, shared by all its replies."""
    pool = _pools.setdefault(asyncio.get_running_loop(), {})
    key = (spec.base_url, spec.api_key)
    if key not in pool:
        pool[key] = Endpoint(*key)
    return pool[key]


async def close_clients() -> None:
    """Close every connection that the running loop holds to models. New replies open new ones."""
    pool = _pools.pop(asyncio.get_running_loop(), {})
    for endpoint in pool.values():
        await endpoint.client.close()


class ChunkStream(openai.AsyncStream[object]):
    """The SDK's stream of events, less those that carry no data.

    The SDK takes any blank line for the end of an event once the server has sent an `id:`, and
    would then read JSON from nothing; by the standard such an event is not dispatched.
    """

    async def _iter_events(self) -> AsyncGenerator[Any, None]:
        async for event in super()._iter_events():
            if event.data:
                yield event


class Exchange:
    """One request through the SDK, in the place of LangChain's `async_client`.

    The SDK's own `create` builds a pydantic object from every chunk and LangChain takes it apart
    again: 75 µs per token. LangChain accepts chunks that are dicts, so they stay what they are.
    """

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self._client = endpoint.client
        self._timeout = httpx2.Timeout(
            connect=timeouts.connect, pool=timeouts.connect, write=_WRITE_SECONDS, read=None
        )
        self._stream: ChunkStream | None = None

    @property
    def connected(self) -> bool:
        """Whether the response has begun."""
        return self._stream is not None

    async def create(
        self, *, extra_body: Mapping[str, object] | None = None, **payload: object
    ) -> ChunkStream:
        """Send the request; returns once the response's headers are here."""
        self._stream = await self._client.post(
            "/chat/completions",
            cast_to=object,
            body={**payload, **(extra_body or {})},
            options={"timeout": self._timeout, "security": {"bearer_auth": True}},
            stream=True,
            stream_cls=ChunkStream,
        )
        return self._stream

    async def close(self) -> None:
        """Close the response and, unless it was read to its end, its connection."""
        if self._stream is not None:
            await self._stream.close()


class StreamingModel(ChatOpenAI):
    """ChatOpenAI whose chunks carry what `read_chunk` finds; see `chunk_in`."""

    def stream_chunks(self, turns: Sequence[Turn]) -> AsyncGenerator[ChatGenerationChunk, None]:
        """The chunks of one reply.

        This is `astream` without what it adds around `_astream`: callbacks, tracing and a copy of
        every chunk, merged at the end. We have no use for them, and they cost as much CPU per
        token as the rest of LangChain.
        """
        messages = [_MESSAGES[turn.role](turn.content, name=turn.name) for turn in turns]
        return self._astream(messages)  # type: ignore[return-value]

    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk:
        # Building LangChain's message of every chunk would be most of the cost of a token.
        return ChatGenerationChunk.model_construct(
            text="", message=_EMPTY_MESSAGE, generation_info={_CHUNK: read_chunk(chunk)}
        )


def chunk_in(generation: ChatGenerationChunk) -> Chunk:
    """What a chunk of `stream_chunks` says."""
    assert generation.generation_info is not None
    chunk: Chunk = generation.generation_info[_CHUNK]
    return chunk


@contextlib.asynccontextmanager
async def open_exchange(
    spec: ModelSpec, endpoint: Endpoint, timeouts: Timeouts
) -> AsyncGenerator[tuple[StreamingModel, Exchange], None]:
    """A model for one reply, and the exchange it will have; closed at the end of the block."""
    exchange = Exchange(endpoint, timeouts)
    model = StreamingModel(
        model=spec.model,
        temperature=spec.temperature,
        max_completion_tokens=spec.max_tokens,
        extra_body=spec.extra or None,
        max_retries=0,
        stream_usage=spec.model not in endpoint.without_stream_options,
        # Our own watchdog waits for all chunks of a reply with one timer.
        stream_chunk_timeout=None,
        use_responses_api=False,
        async_client=exchange,
        # It would warn of proxies in the environment that it shadows; our client heeds them.
        http_socket_options=(),
        # Neither is used, but without them ChatOpenAI would build a second client from them.
        client=exchange,
        api_key=SecretStr("unused"),
    )
    try:
        yield model, exchange
    finally:
        await exchange.close()
