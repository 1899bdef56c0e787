"""One reply of a model, streamed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Final

import openai
import structlog

from chat.llm.chunks import Chunk, ToolCallPart
from chat.llm.endpoints import Endpoint, chunk_in, endpoint_for, open_exchange
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
from chat.llm.reasoning import StorableText, ThinkSplitter, storable
from chat.llm.spec import (
    MAX_FINISH_REASON,
    MAX_MODEL_NAME,
    Delta,
    Finish,
    ModelSpec,
    Timeouts,
    ToolCall,
    Turn,
    Usage,
)
from chat.llm.tokens import TokenEstimate, estimate_turns

logger = structlog.get_logger(__name__)

# A model that ignores max_tokens is cut at so many characters for each of them: no token is longer
# than this on average.
CHARACTERS_PER_TOKEN: Final = 16
# The limit of a model that was told none.
_UNSTATED_MAX_TOKENS: Final = 65_536
_MAX_TOOL_CALLS: Final = 128  # as many tools as OpenAI takes in a request


async def stream_reply(
    spec: ModelSpec, turns: Sequence[Turn], *, timeouts: Timeouts | None = None
) -> AsyncGenerator[Delta | Finish, None]:
    """Ask the model and yield its reply as it comes: deltas, then exactly one Finish.

    A reply longer than its `max_tokens` allows is cut and finishes with `length`. Closing the
    generator, or cancelling the task that reads it, closes the connection to the model. There are
    no retries here. Raises a ModelError for everything that goes wrong before the model has said
    that it finished; what goes wrong after that costs only what would have come.
    """
    timeouts = timeouts or Timeouts()
    try:
        endpoint = endpoint_for(spec)
    except PROVIDER_ERRORS as error:
        raise translate_error(error, connected=False) from error
    reader = _Reader(turns, (spec.max_tokens or _UNSTATED_MAX_TOKENS) * CHARACTERS_PER_TOKEN)
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
                delta = reader.read(chunk_in(chunk))
                if reader.begun:
                    watchdog.begin()
                if delta is not None:
                    yield delta
                if reader.failed:
                    raise ModelErrorInStream
                if reader.full:
                    break
            if not reader.chunks:
                raise ModelBadResponse
        except (ModelError, *PROVIDER_ERRORS) as error:
            if model.stream_usage and _refuses_stream_options(error):
                raise _StreamOptionsRefused from error
            # What was held back was said all the same.
            if (rest := reader.flush()) is not None:
                yield rest
            if reader.finished:
                logger.info("model_broke_after_its_end", error=type(error).__name__)
                return
            if isinstance(error, ModelError):
                error.after_first_delta = reader.delivered
                raise
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
    """Turns chunks into deltas and keeps what the Finish needs. `room` is in characters."""

    def __init__(self, turns: Sequence[Turn], room: int) -> None:
        self.chunks = 0
        self.begun = False  # the model has said something, be it a tool call
        self.delivered = False  # a delta is out
        self.full = False  # something was cut off
        self._turns = turns
        self._room = room
        self._splitter = ThinkSplitter()
        self._text = StorableText()
        self._reasoning = StorableText()
        self._output = TokenEstimate()
        self._refusal: list[str] = []
        self._tool_calls: dict[int, ToolCall] = {}
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._model = ""

    @property
    def failed(self) -> bool:
        """Whether it ended as OpenRouter ends what its upstream broke off."""
        return self._finish_reason == "error"

    @property
    def finished(self) -> bool:
        """Whether the model has said that it had no more to say."""
        return bool(self._finish_reason) and not self.failed

    def read(self, chunk: Chunk) -> Delta | None:
        """The delta in `chunk`, or None if it has none."""
        self.chunks += 1
        # The first counts: what a server says after the end does not undo it.
        self._finish_reason = self._finish_reason or chunk.finish_reason
        self._model = chunk.model or self._model
        # Some servers send usage with every chunk, growing.
        self._usage = chunk.usage or self._usage
        if chunk.refusal:
            self._read_refusal(chunk.refusal)
        for part in chunk.tool_calls:
            self._read_tool_call(part)
        if not chunk.text and not chunk.reasoning:
            return None
        self.begun = True
        reasoning = self._take(chunk.reasoning)
        text = self._take(chunk.text)
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
        reason = "length" if self.full else storable(self._finish_reason)[:MAX_FINISH_REASON]
        return Finish(
            reason or None,
            self._usage or Usage(estimate_turns(self._turns), self._output.tokens, True),
            storable("".join(self._refusal)) or None,
            [
                ToolCall(storable(call.id), storable(call.name), storable(call.arguments))
                for _, call in sorted(self._tool_calls.items())
            ],
            storable(self._model)[:MAX_MODEL_NAME] or None,
        )

    def _take(self, said: str) -> str:
        """As much of `said` as there is room for."""
        taken = said[: self._room]
        self._room -= len(taken)
        self.full = self.full or len(taken) < len(said)
        return taken

    def _delta(self, text: str, reasoning: str) -> Delta | None:
        if not text and not reasoning:
            return None
        self._output.add(text)
        self._output.add(reasoning)
        self.delivered = True
        return Delta(text, reasoning)

    def _read_refusal(self, refusal: str) -> None:
        self.begun = True
        refusal = self._take(refusal)
        self._refusal.append(refusal)
        self._output.add(refusal)

    def _read_tool_call(self, part: ToolCallPart) -> None:
        self.begun = True
        call = self._tool_calls.get(part.index)
        if call is None and len(self._tool_calls) >= _MAX_TOOL_CALLS:
            self.full = True
            return
        call = call or ToolCall("", "", "")
        self._tool_calls[part.index] = ToolCall(
            id=call.id or self._take(part.id),
            name=call.name or self._take(part.name),
            arguments=call.arguments + self._take(part.arguments),
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
