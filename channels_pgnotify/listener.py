"""One LISTEN connection for each event loop that receives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import pq

from .codec import Entry
from .connection import backoff
from .delivery import LocalChannels
from .errors import ListenError, PublishError
from .publisher import Publisher

logger = logging.getLogger(__name__)

APPLICATION_NAME = "chatire listen"

# How long a caller waits for LISTEN to be effective before it gets a ListenError.
LISTEN_SECONDS = 10.0
# How often the socket is read before other tasks of the loop have their turn.
READS_PER_WAKE = 8
# How many notifications in one read make another read worth its while.
WORTH_ANOTHER_READ = 4


class Listener:
    """The LISTEN connection that feeds the channels of one event loop.

    `heartbeat` is in seconds; `inbox` is the Postgres channel of this process.
    """

    def __init__(
        self,
        channels: LocalChannels,
        *,
        params: Callable[[], dict[str, Any]],
        publisher: Publisher,
        inbox: str,
        heartbeat: float,
    ) -> None:
        self.channels = channels
        self.loop = channels.loop
        self._heartbeat = heartbeat
        self._params = params
        self._publisher = publisher
        self._inbox = inbox

        self._task: asyncio.Task[None] | None = None
        self._conn: psycopg.AsyncConnection[Any] | None = None
        self._pgconn: pq.abc.PGconn | None = None
        self._socket = -1
        self._lost: asyncio.Future[str] | None = None
        self._wanted = {inbox}
        self._effective: set[str] = set()
        self._asked: set[str] = set()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}

    def is_listening(self, pg_channel: str) -> bool:
        return pg_channel in self._effective

    async def listen(self, pg_channel: str) -> None:
        """Returns once notifications on the channel arrive here, or raises ListenError."""
        self._wanted.add(pg_channel)
        if self._task is None:
            self._task = self.loop.create_task(self._supervise(), name=APPLICATION_NAME)
        if pg_channel in self._effective:
            return
        waiter = self._waiter(pg_channel)
        self._send_listens()
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await waiter
        except TimeoutError as error:
            raise ListenError(f"no LISTEN connection within {LISTEN_SECONDS:g} s") from error

    @property
    def descriptor(self) -> int:
        """The connection's file descriptor, or -1."""
        return self._socket

    async def close(self) -> None:
        """End the connection and forget every channel and group."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])
        self.channels.forget_everything()
        self._wanted = {self._inbox}

    def abandon(self) -> None:
        """Let go of the connection of a loop that has ended without ceremony."""
        if self._pgconn is not None:
            self._pgconn.finish()
            self._pgconn = None
        self._conn = None

    async def _supervise(self) -> None:
        attempt = 0
        first = True
        try:
            while True:
                try:
                    await self._connect()
                    if not first:
                        logger.info("listening again; every channel is told that it may have a gap")
                        self.channels.signal_gap()
                        self.channels.wake_named()
                    first = False
                    started = self.loop.time()
                    reason = await self._watch()
                    if self.loop.time() - started > self._heartbeat:
                        attempt = 0
                except (OSError, psycopg.Error, TimeoutError) as error:
                    reason = f"{type(error).__name__}: {error}"
                self._detach()
                attempt += 1
                logger.warning("the LISTEN connection is lost, will reconnect: %s", reason)
                await asyncio.sleep(backoff(attempt))
        finally:
            self._detach()

    async def _connect(self) -> None:
        self._conn = await psycopg.AsyncConnection.connect(autocommit=True, **self._params())
        self._pgconn = self._conn.pgconn
        self._socket = self._pgconn.socket
        self._lost = self.loop.create_future()
        # From here on the socket is read directly: psycopg's notifies() generator, built for any
        # use, costs several times what a notification does.
        self.loop.add_reader(self._socket, self._readable)
        waiter = self._waiter(self._inbox)
        self._send_listens()
        async with asyncio.timeout(LISTEN_SECONDS):
            futures: list[asyncio.Future[Any]] = [waiter, self._lost]
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)

    def _detach(self) -> None:
        if self._socket >= 0:
            self.loop.remove_reader(self._socket)
            self._socket = -1
        if self._conn is not None:
            # finish() and not close(): it needs no turn of the loop, which may be ending.
            self._conn.pgconn.finish()
            self._conn = None
            self._pgconn = None
        self._effective.clear()
        self._asked.clear()
        self.channels.beats.clear()
        self.channels.interrupted()

    async def _watch(self) -> str:
        """Returns why the connection must be replaced, when it must be."""
        assert self._lost is not None
        while True:
            await asyncio.wait([self._lost], timeout=self._heartbeat)
            if self._lost.done():
                return self._lost.result()
            self.channels.sweep()
            self.channels.wake_named()
            if not await self.beats():
                return "a heartbeat did not come back: is a transaction-mode pooler in between?"

    async def beats(self) -> bool:
        """Whether what this process publishes arrives here."""
        assert self._lost is not None
        patience = max(1.0, self._heartbeat / 2)
        beat: asyncio.Future[None] = self.loop.create_future()
        self.channels.beats.append(beat)
        try:
            async with asyncio.timeout(patience):
                await self._publisher.publish(
                    [Entry(self._inbox, self.channels.beat_name, b"")], quiet=True
                )
        except (PublishError, TimeoutError) as error:
            logger.warning("a heartbeat could not be published: %s", error or "no answer in time")
            # That says nothing of the LISTEN connection, so it is asked itself.
            self._effective.discard(self._inbox)
            beat = self._waiter(self._inbox)
            self._send_listens()
        futures: list[asyncio.Future[Any]] = [beat, self._lost]
        await asyncio.wait(futures, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not beat.done():
            # A loop that was busy all the while may have the answer, and not have looked yet.
            await asyncio.sleep(0.05)
        return beat.done() or self._lost.done()

    def _waiter(self, pg_channel: str) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._waiters.setdefault(pg_channel, []).append(waiter)
        return waiter

    def _send_listens(self) -> None:
        missing = self._wanted - self._effective
        if self._pgconn is None or self._asked or not missing or self._socket < 0:
            return
        self._asked = missing
        statements = "; ".join(f'LISTEN "{channel}"' for channel in sorted(missing))
        try:
            self._pgconn.send_query(statements.encode())
            self._flush()
        except psycopg.OperationalError as error:
            self._lose(str(error))

    def _flush(self) -> None:
        if self._pgconn is not None and self._pgconn.flush():
            self.loop.call_later(0.01, self._flush)

    def _lose(self, reason: str) -> None:
        if self._socket >= 0:
            self.loop.remove_reader(self._socket)
            self._socket = -1
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    def _readable(self) -> None:
        pgconn = self._pgconn
        if pgconn is None:
            return
        try:
            notified = self.channels.notified
            for _ in range(READS_PER_WAKE):
                pgconn.consume_input()
                count = 0
                while (notification := pgconn.notifies()) is not None:
                    notified(notification.relname, notification.extra)
                    count += 1
                # Reading again to find nothing costs as much as waking up once more; but TLS may
                # hold back decrypted data that the socket does not show.
                if count < WORTH_ANOTHER_READ and not pgconn.ssl_in_use:
                    break
            if self._asked and not pgconn.is_busy():
                self._listens_answered(pgconn)
        except psycopg.OperationalError as error:
            self._lose(str(error).strip())

    def _listens_answered(self, pgconn: pq.abc.PGconn) -> None:
        failure = None
        while (result := pgconn.get_result()) is not None:
            if result.status != pq.ExecStatus.COMMAND_OK:
                failure = result.get_error_message()
            if pgconn.is_busy():
                # The other results are still on their way.
                if failure is not None:
                    break
                return
        if failure is not None:
            self._lose(f"LISTEN failed: {failure}")
            return
        self._effective |= self._asked
        for channel in self._asked:
            for waiter in self._waiters.pop(channel, ()):
                if not waiter.done():
                    waiter.set_result(None)
        self._asked = set()
        self._send_listens()
