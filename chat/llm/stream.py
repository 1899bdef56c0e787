"""One reply of a model, streamed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, cast

import openai
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from chat.llm.endpoints import EMPTY_MESSAGE, Endpoint, endpoint_for, open_exchange
from chat.llm.errors import (
    PROVIDER_ERRORS,
    ModelBadResponse,
    ModelError,
    ModelErrorInStream,
    ModelFirstTokenTimeout,
    ModelIdleTimeout,
    ModelTimeout,
    ModelTotalTimeout,
    translate_error,
)
from chat.llm.reasoning import StorableText, ThinkSplitter
from chat.llm.spec import Delta, Finish, ModelSpec, Timeouts, ToolCall, Turn, Usage
from chat.llm.tokens import TokenEstimate, estimate_turns


async def stream_reply(
    spec: ModelSpec, turns: Sequence[Turn], *, timeouts: Timeouts | None = None
) -> AsyncGenerator[Delta | Finish, None]:
    """Ask the model and yield its reply as it comes: deltas, then exactly one Finish.

    Closing the generator, or cancelling the task that reads it, closes the connection to the
    model. There are no retries here. Raises a ModelError for everything that goes wrong.
    """
    timeouts = timeouts or Timeouts()
    try:
        endpoint = endpoint_for(spec)
    except PROVIDER_ERRORS as error:
        raise translate_error(error, connected=False) from error
    reader = _Reader(turns)
    watchdog = _Watchdog(timeouts)
    try:
        for _ in range(2):
            try:
                async with contextlib.aclosing(
                    _read(spec, turns, endpoint, timeouts, reader, watchdog)
                ) as deltas:
                    async for delta in deltas:
                        yield delta
                break
            except _StreamOptionsRefused:
                endpoint.without_stream_options.add(spec.model)
    finally:
        watchdog.close()
    yield reader.finish()


class _StreamOptionsRefused(Exception):
    """The server does not know `stream_options`."""


async def _read(
    spec: ModelSpec,
    turns: Sequence[Turn],
    endpoint: Endpoint,
    timeouts: Timeouts,
    reader: "_Reader",
    watchdog: "_Watchdog",
) -> AsyncGenerator[Delta, None]:
    async with open_exchange(spec, endpoint, timeouts) as (model, exchange):
        chunks = model.stream_chunks(turns)
        try:
            while True:
                try:
                    with watchdog:
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    break
                delta = reader.read(chunk)
                if reader.begun:
                    watchdog.begin()
                if delta is not None:
                    yield delta
            if not reader.chunks:
                raise ModelBadResponse
        except ModelError as error:
            # What was held back was said all the same.
            if (rest := reader.flush()) is not None:
                yield rest
            error.after_first_delta = reader.delivered
            raise
        except PROVIDER_ERRORS as error:
            if model.stream_usage and _refuses_stream_options(error):
                raise _StreamOptionsRefused from error
            if (rest := reader.flush()) is not None:
                yield rest
            translated = translate_error(error, connected=exchange.connected)
            translated.after_first_delta = reader.delivered
            raise translated from error
        finally:
            await chunks.aclose()
    if (rest := reader.flush()) is not None:
        yield rest


def _refuses_stream_options(error: Exception) -> bool:
    return (
        isinstance(error, openai.APIStatusError)
        and error.status_code in (400, 422)
        and "stream_options" in f"{error.message} {error.body}"
    )


class _Reader:
    """Turns chunks into deltas and keeps what the Finish needs."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.chunks = 0
        self.begun = False  # the model has said something, be it a tool call
        self.delivered = False  # a delta is out
        self._turns = turns
        self._splitter = ThinkSplitter()
        self._text = StorableText()
        self._reasoning = StorableText()
        self._output = TokenEstimate()
        self._refusal = ""
        self._tool_calls: dict[int, ToolCall] = {}
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None

    def read(self, chunk: ChatGenerationChunk) -> Delta | None:
        """The delta in `chunk`, or None if it has none."""
        self.chunks += 1
        info = chunk.generation_info or {}
        if chunk.message is not EMPTY_MESSAGE:
            self._read_message(cast("AIMessageChunk", chunk.message))
        if len(info) > 1:
            self._read_info(info)
        self._model = info["model"] or self._model
        text = chunk.text
        reasoning = info.get("reasoning", "")
        if not text and not reasoning:
            return None
        self.begun = True
        if text and not self._splitter.passing:
            text, thought = self._splitter.feed(text)
            reasoning += thought
        return self._delta(self._text.feed(text), self._reasoning.feed(reasoning))

    def flush(self) -> Delta | None:
        """What was held back until the end, if anything."""
        text, reasoning = self._splitter.flush()
        return self._delta(
            self._text.feed(text) + self._text.flush(),
            self._reasoning.feed(reasoning) + self._reasoning.flush(),
        )

    def finish(self) -> Finish:
        """The end of the reply; the usage is an estimate if the provider gave none."""
        usage = self._usage or Usage(estimate_turns(self._turns), self._output.tokens, True)
        calls = [self._tool_calls[index] for index in sorted(self._tool_calls)]
        return Finish(self._finish_reason, usage, self._refusal or None, calls, self._model)

    def _delta(self, text: str, reasoning: str) -> Delta | None:
        if not text and not reasoning:
            return None
        self._output.add(text)
        self._output.add(reasoning)
        self.delivered = True
        return Delta(text, reasoning)

    def _read_info(self, info: dict[str, Any]) -> None:
        self._finish_reason = info.get("finish_reason") or self._finish_reason
        if self._finish_reason == "error":  # as OpenRouter ends what its upstream broke off
            raise ModelErrorInStream
        if refusal := info.get("refusal"):
            self._refusal += refusal
            self._output.add(refusal)
            self.begun = True

    def _read_message(self, message: AIMessageChunk) -> None:
        # Some servers send usage with every chunk, growing, and some send zeros for "unknown".
        if (usage := message.usage_metadata) and usage["output_tokens"]:
            self._usage = Usage(usage["input_tokens"], usage["output_tokens"], estimated=False)
        for part in message.tool_call_chunks:
            self.begun = True
            index = part["index"] or 0
            call = self._tool_calls.get(index, ToolCall("", "", ""))
            self._tool_calls[index] = ToolCall(
                id=call.id or part["id"] or "",
                name=call.name or part["name"] or "",
                arguments=call.arguments + (part["args"] or ""),
            )


class _Watchdog:
    """Ends a wait for the model that takes too long: `with watchdog: await …`.

    One timer per reply, moved only when it fires: a timer per token would cost more than the
    token. Like asyncio.timeout it cancels the waiting task and takes that cancellation back,
    unless someone else has cancelled the task too.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._first = now + timeouts.first_token
        self._total = now + timeouts.total
        self._idle = timeouts.idle
        self._begun = False
        self._deadline = self._first
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._expired = False

    def begin(self) -> None:
        """From here on, silence is measured instead of the time to the first token."""
        self._begun = True

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        deadline = self._loop.time() + self._idle if self._begun else self._first
        self._deadline = deadline = min(deadline, self._total)
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._fire)
        elif deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._fire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if not self._expired or task is None:
            return
        self._expired = False
        if task.uncancel() > self._cancelling:
            return
        raise self._timeout() from error

    def _fire(self) -> None:
        self._timer = None
        if self._task is None:
            return  # nobody waits; the next wait starts the timer anew
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._fire)
            return
        self._expired = True
        self._task.cancel()

    def _timeout(self) -> ModelTimeout:
        if self._deadline >= self._total:
            return ModelTotalTimeout()
        return ModelIdleTimeout() if self._begun else ModelFirstTokenTimeout()
