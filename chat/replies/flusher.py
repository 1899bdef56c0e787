"""One ticker per process stores and publishes what all its replies have gained.

All active replies go into one INSERT and then one batched publish, so the work per second does
not depend on how many replies stream or how many tokens they have. Persist before publish: who
joins in the middle finds stored whatever was published before.

The INSERT is fenced by the message row, and its answer says which replies this process still
holds and which are to stop. While the database is away, replies go on in memory; once it is
back, each is written anew as one chunk under its last index. That is right whether or not the
last statement before the outage was committed, and also where a crash emptied the table, which
is UNLOGGED.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from channels_pgnotify.connection import backoff
from chat.llm import Delta
from chat.replies import metrics
from chat.replies.active import NOTHING, ActiveReply, Halt, Piece
from core.metrics import CONNECTIONS, CONNECTIONS_BUSY
from core.publishing import Publication, publish_now_async, to_conversation
from protocol.events import ReplyDelta

logger = structlog.get_logger(__name__)

INTERVAL: Final = 0.040  # seconds between flushes
# Seconds between looks at replies whose model is silent: within this a stop is noticed even if
# its wake-up was lost.
CHECK_INTERVAL: Final = 0.150
_STATEMENT_SECONDS: Final = 10.0

_WRITE: Final = """
WITH batch AS (
    SELECT * FROM unnest(%s::uuid[], %s::int[], %s::int[], %s::text[], %s::text[])
        AS batch (message_id, attempt, index, text, reasoning)
), held AS (
    SELECT batch.*, m.stop_requested_at IS NOT NULL OR m.deleted_at IS NOT NULL AS stop
    FROM batch JOIN chat_message m
        ON m.id = batch.message_id AND m.attempt = batch.attempt AND m.status = 'streaming'
), written AS (
    INSERT INTO chat_replychunk (message_id, attempt, index, text, reasoning)
    SELECT message_id, attempt, index, text, reasoning FROM held WHERE index IS NOT NULL
)
SELECT message_id, stop FROM held
"""
_FORGET: Final = """
DELETE FROM chat_replychunk c
USING unnest(%s::uuid[], %s::int[]) AS old (message_id, attempt)
WHERE c.message_id = old.message_id AND c.attempt = old.attempt
"""

_OPEN: Final = CONNECTIONS.labels("flusher")
_BUSY: Final = CONNECTIONS_BUSY.labels("flusher")

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_Row = tuple[UUID, int, int | None, str | None, str | None]


class Flusher:
    """Belongs to the event loop that runs `run()`. `connect` opens a connection in autocommit."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._replies: dict[UUID, ActiveReply] = {}
        # Those with a piece that is taken, and not yet stored and published.
        self._in_flight: set[UUID] = set()
        # Those that begin or end, and so do not wait for the next tick.
        self._hurried: set[UUID] = set()
        self._urgent = asyncio.Event()
        self._occupied = asyncio.Event()
        self._last_flush = 0.0
        self._last_check = 0.0
        # When the database was found away, in monotonic seconds; None while it answers.
        self.away_since: float | None = None

    @property
    def replies(self) -> Iterable[ActiveReply]:
        """The replies being written now."""
        return self._replies.values()

    def open(
        self,
        *,
        message_id: UUID,
        conversation_id: UUID,
        attempt: int,
        before: Delta = NOTHING,
        place: int | None = None,
    ) -> ActiveReply:
        """Begin to flush a reply that was claimed under `attempt`; it says `before` already.

        `place` is its `created_seq`.
        """
        reply = ActiveReply(
            message_id=message_id,
            conversation_id=conversation_id,
            attempt=attempt,
            hurry=partial(self._hurry, message_id),
            before=before,
            place=place,
        )
        self._replies[message_id] = reply
        self._occupied.set()
        metrics.ACTIVE.set(len(self._replies))
        return reply

    def close(self, reply: ActiveReply) -> None:
        """Forget a reply, whose end is stored or which is no longer ours."""
        if self._replies.get(reply.message_id) is reply:
            del self._replies[reply.message_id]
        if not self._replies:
            self._occupied.clear()
        metrics.ACTIVE.set(len(self._replies))

    def halt(self, message_id: UUID, reason: Halt) -> None:
        """Break off a reply, if this process is writing it."""
        reply = self._replies.get(message_id)
        if reply is not None:
            reply.halt(reason)

    async def drain(self, reply: ActiveReply) -> None:
        """Return when all that was added is stored and published, or the reply is not ours."""
        waits = reply.has_more or reply.message_id in self._in_flight
        if waits and reply.halt_reason is not Halt.FENCED:
            reply.drained = asyncio.Event()
            self._hurry(reply.message_id)
            await reply.drained.wait()

    async def run(self) -> None:
        """Flush until cancelled. A process with no replies makes no statements."""
        try:
            while True:
                await self._occupied.wait()
                await self._pause()
                await self._flush()
        finally:
            await self._disconnect()

    async def _pause(self) -> None:
        wait = self._last_flush + INTERVAL - time.monotonic()
        if wait > 0 and not self._urgent.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self._urgent.wait()
            except TimeoutError:
                pass
        self._urgent.clear()

    def _hurry(self, message_id: UUID) -> None:
        self._hurried.add(message_id)
        self._urgent.set()

    def _due(self) -> tuple[Iterable[ActiveReply], bool]:
        """Whose turn it is, and whether the silent ones of them are to be asked about.

        At a tick everyone's; before it only that of those in a hurry, whose words would otherwise
        be stored and sent among everyone else's, as the last of a long statement.
        """
        now = time.monotonic()
        hurried, self._hurried = self._hurried, set()
        if hurried and now < self._last_flush + INTERVAL:
            return [self._replies[each] for each in hurried if each in self._replies], False
        self._last_flush = now
        return self._replies.values(), now - self._last_check >= CHECK_INTERVAL

    async def _flush(self) -> None:
        replies, checking = self._due()
        rows: list[_Row] = []
        asked: list[ActiveReply] = []
        pieces: list[tuple[ActiveReply, Piece]] = []
        for reply in replies:
            piece = reply.take()
            if piece is not None:
                pieces.append((reply, piece))
                rows.append((reply.message_id, reply.attempt, *piece))
            elif checking:
                rows.append((reply.message_id, reply.attempt, None, None, None))
            else:
                continue
            asked.append(reply)
        if not rows:
            return
        if checking:
            self._last_check = self._last_flush
        (metrics.FLUSHES if pieces else metrics.CHECKS).inc()
        self._in_flight = {reply.message_id for reply, _ in pieces}
        try:
            held = await self._write(rows)
        except (psycopg.Error, OSError, TimeoutError) as error:
            logger.warning("flush_failed", error=type(error).__name__, replies=len(self._replies))
            asked = list(self._replies.values())
            held = await self._recover()
        self._apply_marks(asked, held)
        await self._publish([(reply, piece) for reply, piece in pieces if reply.message_id in held])
        self._in_flight = set()
        for reply in asked:
            if reply.drained is not None and (not reply.has_more or reply.message_id not in held):
                reply.drained.set()
            elif reply.drained is not None:
                self._hurry(reply.message_id)

    def _apply_marks(self, asked: Sequence[ActiveReply], held: dict[UUID, bool]) -> None:
        for reply in asked:
            stop = held.get(reply.message_id)
            if stop is None:
                reply.halt(Halt.FENCED)
            elif stop:
                reply.halt(Halt.STOPPED)

    async def _write(self, rows: Sequence[_Row]) -> dict[UUID, bool]:
        """Store; return which replies are still held, each with whether it is to stop."""
        connection = await self._connected()
        with _BUSY.track_inprogress():
            async with asyncio.timeout(_STATEMENT_SECONDS):
                cursor = await connection.execute(
                    _WRITE, [list(column) for column in zip(*rows, strict=True)]
                )
                held: dict[UUID, bool] = dict(await cursor.fetchall())
        metrics.CHUNK_BYTES.inc(
            sum(len(f"{text or ''}{reasoning or ''}".encode()) for *_, text, reasoning in rows)
        )
        return held

    async def _recover(self) -> dict[UUID, bool]:
        """Wait for the database; write what each reply has so far as its one chunk."""
        self.away_since = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            await self._disconnect()
            await asyncio.sleep(backoff(attempt, cap=1.0))
            rows: list[_Row] = [
                (reply.message_id, reply.attempt, *reply.taken())
                if reply.next_index
                else (reply.message_id, reply.attempt, None, None, None)
                for reply in self._replies.values()
            ]
            if not rows:
                self.away_since = None
                return {}
            try:
                connection = await self._connected()
                async with asyncio.timeout(_STATEMENT_SECONDS), connection.transaction():
                    await connection.execute(
                        _FORGET, [[row[0] for row in rows], [row[1] for row in rows]]
                    )
                    held = await self._write(rows)
            except (psycopg.Error, OSError, TimeoutError) as error:
                if attempt % 10 == 1:
                    logger.warning("database_away", error=type(error).__name__, attempt=attempt)
                continue
            logger.info("replies_rebased", replies=len(rows), seconds=self.away_seconds)
            metrics.REBASES.inc()
            self.away_since = None
            return held

    @property
    def away_seconds(self) -> float:
        """For how long the database has not answered; 0 while it does."""
        return 0.0 if self.away_since is None else time.monotonic() - self.away_since

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = await self._connect()
            _OPEN.set(1)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        _OPEN.set(0)
        if connection is not None:
            await connection.close()

    async def _publish(self, pieces: Sequence[tuple[ActiveReply, Piece]]) -> None:
        if not pieces:
            return
        publications: list[Publication] = []
        for reply, piece in pieces:
            publications.append(
                to_conversation(
                    ReplyDelta.model_construct(
                        conversation=reply.conversation_id,
                        message=reply.message_id,
                        attempt=reply.attempt,
                        index=piece.position,
                        text=piece.text,
                        reasoning=piece.reasoning,
                    ),
                    place=reply.place,
                )
            )
        metrics.DELTA_BYTES.inc(sum(len(each.message["frame"].encode()) for each in publications))
        metrics.DELTAS.inc(len(pieces))
        try:
            await publish_now_async(*publications)
        except Exception as error:  # noqa: BLE001
            # Whatever a layer may raise: the text is stored, clients miss an index and ask for it,
            # and the replies of this process must not end with its publications.
            metrics.LOST_PUBLICATIONS.inc()
            logger.warning("deltas_not_published", error=type(error).__name__, deltas=len(pieces))
