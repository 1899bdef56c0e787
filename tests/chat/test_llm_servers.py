"""The way to a model, against servers that no one here wrote: llmock and llama.cpp."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from llmock.pytest_plugin import LLMock

from chat.llm import (
    Delta,
    Finish,
    ModelBadResponse,
    ModelConnectionLost,
    ModelContextExceeded,
    ModelError,
    ModelFirstTokenTimeout,
    ModelIdleTimeout,
    ModelRateLimited,
    ModelSpec,
    ModelTimeout,
    ModelUnavailable,
    Timeouts,
    Turn,
    stream_reply,
)
from chat.replies.prompt import OPEN_TURN

pytestmark = pytest.mark.usefixtures("model_clients")

ANSWER = "Naïve 東京 👩‍👩‍👧‍👦\n\n```python\nprint('<think>')\n```\n\u2028 the end.  \n"


async def ask(
    spec: ModelSpec, prompt: str = "hello", *, timeouts: Timeouts | None = None
) -> tuple[list[Delta], Finish]:
    *deltas, finish = [
        item async for item in stream_reply(spec, [Turn("user", prompt)], timeouts=timeouts)
    ]
    assert isinstance(finish, Finish)
    return [delta for delta in deltas if isinstance(delta, Delta)], finish


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.fixture
def spec(llmock: LLMock) -> ModelSpec:
    return ModelSpec("gpt-4o-mini", llmock.base_url(), "key")


async def test_llmock_answers_in_pieces(llmock: LLMock, spec: ModelSpec) -> None:
    llmock.reply(ANSWER)
    deltas, finish = await ask(spec)
    assert text_of(deltas) == ANSWER
    assert len(deltas) > 1
    assert finish.finish_reason == "stop"
    assert not finish.usage.estimated
    assert finish.usage.output_tokens > 0


@pytest.mark.parametrize("provider", ["mistral", "groq", "together", "xai", "perplexity"])
async def test_llmocks_dialects_are_read(llmock: LLMock, provider: str) -> None:
    llmock.reply(ANSWER)
    deltas, finish = await ask(ModelSpec("some-model", llmock.base_url(provider), "key"))
    assert text_of(deltas) == ANSWER
    assert finish.finish_reason == "stop"


async def test_llmock_calls_a_tool(llmock: LLMock, spec: ModelSpec) -> None:
    llmock.call_tool("get_weather", {"city": "Paris"})
    _, finish = await ask(spec)
    [call] = finish.tool_calls
    assert (call.name, call.arguments.replace(" ", "")) == ("get_weather", '{"city":"Paris"}')
    assert finish.finish_reason == "tool_calls"


Breaks = Callable[[LLMock], LLMock]


@pytest.mark.parametrize(
    ("breaks", "error", "partial"),
    [
        (lambda mock: mock.rate_limit(retry_after=2), ModelRateLimited, False),
        (lambda mock: mock.outage(), ModelUnavailable, False),
        (lambda mock: mock.fail(529), ModelUnavailable, False),
        (lambda mock: mock.context_overflow(), ModelContextExceeded, False),
        (lambda mock: mock.limits(context_window=1), ModelContextExceeded, False),
        (lambda mock: mock.disconnect(after_chunks=4), ModelConnectionLost, True),
        (lambda mock: mock.corrupt(after_chunks=4), ModelBadResponse, True),
        (lambda mock: mock.stall(after_chunks=4, seconds=5), ModelIdleTimeout, True),
        (lambda mock: mock.slow_first_token(5), ModelFirstTokenTimeout, False),
        (lambda mock: mock.delay(5), ModelFirstTokenTimeout, False),
    ],
)
async def test_llmocks_faults_are_told_apart(
    llmock: LLMock, spec: ModelSpec, breaks: Breaks, error: type[ModelError], partial: bool
) -> None:
    breaks(llmock.reply(ANSWER))
    received: list[Delta] = []
    patience = 0.5 if issubclass(error, ModelTimeout) else 30.0
    timeouts = Timeouts(first_token=patience, idle=patience)

    async def read() -> None:
        turns = [Turn("user", "hello there, how are you?")]
        async for item in stream_reply(spec, turns, timeouts=timeouts):
            assert isinstance(item, Delta)
            received.append(item)

    with pytest.raises(ModelError) as caught:
        await read()
    assert type(caught.value) is error
    assert caught.value.after_first_delta is partial
    assert bool(received) is partial
    assert ANSWER.startswith(text_of(received))
    if error is ModelRateLimited:
        assert caught.value.retry_after == 2


async def test_llmocks_truncated_stream_has_no_finish_reason(
    llmock: LLMock, spec: ModelSpec
) -> None:
    llmock.reply(ANSWER).truncate(after_chunks=4)
    deltas, finish = await ask(spec)
    assert finish.finish_reason is None
    assert finish.usage.estimated
    assert ANSWER.startswith(text_of(deltas))
    assert text_of(deltas) != ANSWER


@pytest.fixture(scope="module")
def embedded_model() -> Iterator[ModelSpec]:
    """The model of the development stack, as its own process."""
    pytest.importorskip("xllamacpp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "chatire.stack.model", "--port", str(port)],
        env={**os.environ, "MODEL_SERVER_KEY": "secret"},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 45
        while True:
            assert process.poll() is None, "the embedded model ended"
            assert time.monotonic() < deadline, "the embedded model does not answer"
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield ModelSpec(
            "smollm2", f"http://127.0.0.1:{port}/v1", "secret", temperature=0.0, max_tokens=24
        )
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.acceptance
async def test_llama_cpp_answers_and_heeds_max_tokens(embedded_model: ModelSpec) -> None:
    deltas, finish = await ask(embedded_model, "What is the capital of France?")
    assert "Paris" in text_of(deltas)
    assert finish.finish_reason in ("stop", "length")
    assert not finish.usage.estimated
    assert 0 < finish.usage.output_tokens <= 24


@pytest.mark.acceptance
async def test_llama_cpp_says_when_the_context_is_too_small(embedded_model: ModelSpec) -> None:
    with pytest.raises(ModelContextExceeded):
        await ask(embedded_model, "word " * 20_000)


@pytest.mark.acceptance
async def test_llama_cpp_can_be_left_in_the_middle(embedded_model: ModelSpec) -> None:
    turns = [Turn("user", "Tell me a long story about a river and a clock.")]
    reply = stream_reply(embedded_model, turns)
    await anext(reply)
    await reply.aclose()
    deltas, _ = await asyncio.wait_for(ask(embedded_model, "Hello!"), 30)
    assert text_of(deltas)


@pytest.mark.acceptance
async def test_llama_cpp_goes_on_with_a_turn_that_is_left_open(embedded_model: ModelSpec) -> None:
    question = Turn("user", "Tell me a long story about a river and a clock.")
    whole = [one async for one in stream_reply(embedded_model, [question])]
    said = text_of([one for one in whole[:10] if isinstance(one, Delta)])
    left_open = replace(embedded_model, extra=OPEN_TURN)
    turns = [question, Turn("assistant", said)]
    try:
        rest = [one async for one in stream_reply(left_open, turns)]
    except ModelConnectionLost:
        # This server closes a connection after a streamed answer; the worker asks again at once.
        rest = [one async for one in stream_reply(left_open, turns)]
    assert rest[0] == whole[10]
