"""Writing one reply, from its claim to its end.

The loop that reads the model awaits nothing but the model. No database connection is held
meanwhile: the claim and the end are short calls on a thread, and deltas go through the flusher.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import Any, Final, ParamSpec, TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError

from channels_pgnotify.connection import backoff
from chat.llm import (
    Delta,
    Finish,
    ModelConnectionLost,
    ModelError,
    Timeouts,
    estimate_usage,
    stream_reply,
)
from chat.models import Message
from chat.replies import metrics
from chat.replies.active import ActiveReply, Halt
from chat.replies.flusher import Flusher
from chat.replies.prompt import CannotAsk, Prompt, prompt_for
from chat.services.replies import Claim, Outcome, claim_reply, finish_reply, hand_back_reply
from core.metrics import statements_for
from core.threads import in_thread
from protocol.errors import ReplyError

logger = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

MAX_TRIES: Final = 4
_LONGEST_RETRY_AFTER: Final = 30.0  # seconds; a provider that asks for more is not waited for
_RETRY_BASE: Final = 0.5
# Seconds a finished reply waits for an absent database before it is left to the reaper.
_PATIENCE: Final = 3600.0
_HAND_BACK_SECONDS: Final = 5.0
# What the columns that count tokens hold.
_MAX_TOKENS: Final = 2**31 - 1

_Status = Message.Status


class Runner:
    """Writes replies with one flusher; `run` is called once for each job."""

    def __init__(self, flusher: Flusher) -> None:
        self._flusher = flusher
        self._running = 0
        self._stopping = False

    async def run(self, *, message_id: UUID, conversation_id: UUID) -> None:
        """Write a reply, if it is still to be written. Raises only what is a fault of ours."""
        self._running += 1
        try:
            with statements_for("claim"):
                prepared = await persistently(_prepare, message_id, conversation_id)
            if prepared is not None:
                await self._write(*prepared)
        finally:
            self._running -= 1

    def hand_back_all(self) -> None:
        """Break off every reply and give it back to the queue."""
        self._stopping = True
        for reply in list(self._flusher.replies):
            reply.halt(Halt.SHUTDOWN)

    @property
    def running(self) -> int:
        """How many replies are under way, from claim to end."""
        return self._running

    async def _write(self, claim: Claim, prompt: Prompt) -> None:
        message_id = claim.message.pk
        log = logger.bind(message=str(message_id), attempt=claim.attempt)
        reply = self._flusher.open(
            message_id=message_id,
            conversation_id=claim.conversation.pk,
            attempt=claim.attempt,
            before=Delta(claim.message.content, claim.message.reasoning),
            place=claim.message.created_seq,
        )
        try:
            outcome = await self._read(reply, prompt)
            if outcome is None:
                await self._give_up(reply, log)
                return
            outcome = _with_earlier_usage(outcome, claim.message)
            await self._flusher.drain(reply)
            with statements_for("finish"):
                won = await persistently(
                    finish_reply,
                    message_id=message_id,
                    conversation_id=reply.conversation_id,
                    attempt=reply.attempt,
                    outcome=outcome,
                )
        finally:
            self._flusher.close(reply)
        if won:
            metrics.REPLIES.labels(outcome.status).inc()
            log.info("reply_ended", status=outcome.status, error=outcome.error_code)
        else:
            metrics.FENCED.inc()
            log.info("reply_fenced")

    async def _read(self, reply: ActiveReply, prompt: Prompt) -> Outcome | None:
        """Read the model to its end; None if the reply is no longer ours to end."""
        reader = asyncio.create_task(_converse(reply, prompt))
        reply.reader = reader
        if self._stopping:
            reply.halt(Halt.SHUTDOWN)
        try:
            await asyncio.wait({reader})
        except asyncio.CancelledError:
            # Procrastinate aborts the jobs that outlast its own time for shutting down.
            reply.halt(Halt.SHUTDOWN)
            await asyncio.wait({reader})
        if not reader.cancelled():
            return reader.result()
        if reply.halt_reason is Halt.STOPPED:
            return _partial(reply, prompt, status=_Status.CANCELLED)
        return None

    async def _give_up(self, reply: ActiveReply, log: Any) -> None:
        if reply.halt_reason is Halt.FENCED:
            metrics.FENCED.inc()
            log.info("reply_fenced")
            return
        # If this fails too, the reaper finds the reply without a worker.
        async with asyncio.timeout(_HAND_BACK_SECONDS):
            handed_back = await in_thread(
                hand_back_reply,
                message_id=reply.message_id,
                conversation_id=reply.conversation_id,
                attempt=reply.attempt,
            )
        if handed_back:
            metrics.HANDED_BACK.inc()
        log.info("reply_handed_back", won=handed_back)


def _prepare(message_id: UUID, conversation_id: UUID) -> tuple[Claim, Prompt] | None:
    claim = claim_reply(message_id=message_id, conversation_id=conversation_id)
    if claim is None:
        return None
    try:
        return claim, prompt_for(claim)
    except CannotAsk as error:
        finish_reply(
            message_id=message_id,
            conversation_id=conversation_id,
            attempt=claim.attempt,
            outcome=Outcome(status=_Status.FAILED, error_code=error.code),
        )
        return None


async def _converse(reply: ActiveReply, prompt: Prompt) -> Outcome:
    tries = 0
    while True:
        tries += 1
        try:
            return await _read_model(reply, prompt)
        except ModelError as error:
            wait = _retry_wait(error, tries)
            if wait is None:
                logger.warning("model_failed", message=str(reply.message_id), code=error.code)
                return _partial(reply, prompt, status=_Status.FAILED, error_code=error.code)
            metrics.MODEL_RETRIES.labels(error.code).inc()
            logger.info("model_retry", message=str(reply.message_id), code=error.code, wait=wait)
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            raise
        except Exception:
            # A fault of ours must not leave the reply streaming for ever.
            logger.exception("reply_crashed", message=str(reply.message_id))
            return _partial(reply, prompt, status=_Status.FAILED, error_code=ReplyError.INTERNAL)


async def _read_model(reply: ActiveReply, prompt: Prompt) -> Outcome:
    timeouts = Timeouts(**settings.REPLY_TIMEOUTS)
    async with aclosing(stream_reply(prompt.spec, prompt.turns, timeouts=timeouts)) as stream:
        async for item in stream:
            if isinstance(item, Delta):
                reply.add(item)
            else:
                return _finished(reply, item)
    raise AssertionError("the stream ended without a Finish")


def _retry_wait(error: ModelError, tries: int) -> float | None:
    """Seconds until the model is asked again; None if it is not."""
    if not error.retryable or tries >= MAX_TRIES:
        return None
    if tries == 1 and isinstance(error, ModelConnectionLost):
        # Most often a kept connection that the server was just closing: a new one will do.
        return 0.0
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= _LONGEST_RETRY_AFTER else None
    jitter = random.uniform(0.5, 1.5)  # noqa: S311
    return float(_RETRY_BASE * 2 ** (tries - 1) * jitter)


def _finished(reply: ActiveReply, finish: Finish) -> Outcome:
    return Outcome(
        status=_Status.COMPLETE if finish.finish_reason else _Status.INTERRUPTED,
        content=reply.content,
        reasoning=reply.reasoning,
        refusal=finish.refusal or "",
        tool_calls=[asdict(call) for call in finish.tool_calls],
        finish_reason=finish.finish_reason or "",
        model=finish.model or "",
        input_tokens=finish.usage.input_tokens,
        output_tokens=finish.usage.output_tokens,
        usage_estimated=finish.usage.estimated,
    )


def _with_earlier_usage(outcome: Outcome, before: Message) -> Outcome:
    """Add what the runs before a reply was continued have used."""
    if before.input_tokens is None and before.output_tokens is None:
        return outcome
    return replace(
        outcome,
        input_tokens=min((before.input_tokens or 0) + (outcome.input_tokens or 0), _MAX_TOKENS),
        output_tokens=min((before.output_tokens or 0) + (outcome.output_tokens or 0), _MAX_TOKENS),
        usage_estimated=before.usage_estimated or outcome.usage_estimated,
    )


def _partial(
    reply: ActiveReply,
    prompt: Prompt,
    *,
    status: str,
    error_code: str = "",
) -> Outcome:
    """The end of a reply whose model did not end it: what there is, and an estimate."""
    usage = estimate_usage(prompt.turns, *reply.added)
    return Outcome(
        status=status,
        error_code=error_code,
        content=reply.content,
        reasoning=reply.reasoning,
        model=prompt.spec.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        usage_estimated=True,
    )


async def persistently(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a database call on a thread, again and again while the database is away.

    It must be safe to repeat: what was lost may be the answer, not the call. After an hour, raises
    what the call raised.
    """
    began = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            return await in_thread(call, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() - began > _PATIENCE:
                raise
            logger.warning("database_away", error=type(error).__name__, attempt=attempt)
        await asyncio.sleep(backoff(attempt, cap=2.0))
