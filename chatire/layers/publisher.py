"""One thread and one connection publish for a whole process.

Event loops come and go (async_to_sync makes one per call) and a connection belongs to the loop it
was opened in, so publishing has a thread of its own that any thread or loop can hand messages to.
What is handed over while a statement is in flight shares the next one.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from typing import Any

import psycopg
from psycopg import pq

from .codec import Entry, Stream, array_literal
from .connection import backoff
from .errors import NotifyQueueFull, PublishBacklogFull, PublishError

logger = logging.getLogger(__name__)

APPLICATION_NAME = "chatire publish"

# count() makes one row of any number of notifications.
NOTIFY = "SELECT count(pg_notify(c, p)) FROM unnest({}::text[], {}::text[]) AS t (c, p)"

# How long a message may wait for Postgres before its sender gets an error.
PUBLISH_SECONDS = 10.0
# How long one statement may take before its connection counts as dead.
STATEMENT_SECONDS = 5.0
# After this much silence the stream's position is repeated once: a lost last one is noticed too.
TIP_SECONDS = 1.0
# What may wait in a process to be published: more means that Postgres does not keep up.
BACKLOG_BYTES = 64 * 2**20
# What one statement carries at most (and at least one message).
STATEMENT_BYTES = 4 * 2**20

_PROGRAM_LIMIT_EXCEEDED = "54000"  # "too many notifications in the NOTIFY queue"

Row = tuple[bytes | None, ...]


class Job:
    """Something to be done on the publishing connection, and who waits for it."""

    __slots__ = ("_future", "_loop", "deadline", "entries", "quiet", "size", "statement")

    def __init__(
        self,
        entries: Sequence[Entry],
        statement: tuple[bytes, list[bytes | None]] | None,
        loop: asyncio.AbstractEventLoop | None,
        *,
        quiet: bool = False,
    ) -> None:
        self.entries = entries
        self.statement = statement
        # A quiet job's loss matters to nobody but its sender, so no tip follows it.
        self.quiet = quiet
        self.size = sum(len(entry.body) for entry in entries) + 100
        self.deadline = time.monotonic() + PUBLISH_SECONDS
        self._loop = loop
        self._future: asyncio.Future[list[Row]] | ThreadFuture[list[Row]] = (
            loop.create_future() if loop else ThreadFuture()
        )

    @property
    def future(self) -> Any:
        """Awaitable (made in a loop) or a concurrent.futures.Future (made outside)."""
        return self._future

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        return self._loop

    def resolve(self, outcome: list[Row] | Exception) -> None:
        """Must run in the job's own loop, if it has one."""
        if self._future.done():
            return
        if isinstance(outcome, Exception):
            # One each: raised in several tasks, a shared one would collect all their tracebacks.
            failure = copy.copy(outcome)
            failure.__cause__ = outcome.__cause__
            self._future.set_exception(failure)
        else:
            self._future.set_result(outcome)


class Publisher:
    """Takes jobs from any thread and any event loop, in order."""

    def __init__(self, params: Callable[[], dict[str, Any]]) -> None:
        self._params = params
        self._stream = Stream()
        self._lock = threading.Lock()
        self._pending: deque[Job] = deque()
        self._pending_bytes = 0
        self._wake = threading.Semaphore(0)
        self._asleep = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._conn: psycopg.Connection[Any] | None = None
        self._dirty: set[str] = set()

    async def publish(self, entries: Sequence[Entry], *, quiet: bool = False) -> None:
        """Send the entries; returns when Postgres has taken them.

        Raises PublishError if it did not, PublishBacklogFull (a ChannelFull) if too much waits.
        """
        job = Job(entries, None, asyncio.get_running_loop(), quiet=quiet)
        self._submit(job)
        await job.future

    def publish_blocking(self, entries: Sequence[Entry]) -> None:
        """The same for a thread without an event loop."""
        job = Job(entries, None, None)
        self._submit(job)
        job.future.result()

    async def execute(self, statement: str, params: Sequence[bytes | None] = ()) -> list[Row]:
        """Run one autocommit statement ($1, $2, … with text parameters); its rows, as text.

        Never repeated: if the connection breaks meanwhile, PublishError is raised.
        """
        job = Job((), (statement.encode(), list(params)), asyncio.get_running_loop())
        self._submit(job)
        rows: list[Row] = await job.future
        return rows

    @property
    def descriptor(self) -> int:
        """The connection's file descriptor, or -1."""
        conn = self._conn
        return conn.pgconn.socket if conn is not None and not conn.closed else -1

    def stop(self, *, wait: bool = False) -> None:
        """Finish what waits, close the connection, end the thread. It starts again when needed."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            self._stopping = True
            self._rouse()
        if wait:
            thread.join(PUBLISH_SECONDS + STATEMENT_SECONDS)

    def _submit(self, job: Job) -> None:
        with self._lock:
            if self._pending_bytes + job.size > BACKLOG_BYTES and self._pending:
                raise PublishBacklogFull(f"{self._pending_bytes:,} bytes wait to be published")
            self._pending.append(job)
            self._pending_bytes += job.size
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(
                    target=self._run, name=APPLICATION_NAME, daemon=True
                )
                self._thread.start()
            else:
                self._rouse()

    def _rouse(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.release()

    # What follows runs in the thread.

    def _run(self) -> None:
        while True:
            jobs = self._take()
            if jobs is None:
                return
            try:
                self._work(jobs)
            except BaseException as error:
                failure = PublishError("the publishing thread ended")
                failure.__cause__ = error
                with self._lock:
                    jobs += self._pending
                    self._pending.clear()
                    self._pending_bytes = 0
                    self._thread = None
                self._close()
                _resolve([(job, failure) for job in jobs])
                raise

    def _take(self) -> list[Job] | None:
        """The jobs for one go; waits for some. None when the thread should end."""
        while True:
            with self._lock:
                if self._pending:
                    jobs: list[Job] = []
                    size = 0
                    while self._pending and (not jobs or size < STATEMENT_BYTES):
                        job = self._pending.popleft()
                        size += job.size
                        jobs.append(job)
                    self._pending_bytes -= size
                    return jobs
                if self._stopping:
                    self._thread = None
                    self._close()
                    return None
                self._asleep = True
            if not self._wake.acquire(timeout=TIP_SECONDS if self._dirty else None):
                with self._lock:
                    late = not self._asleep
                    self._asleep = False
                if late:
                    # A job came between the time-out and the lock, and left its token.
                    self._wake.acquire()
                self._send_tips()

    def _work(self, jobs: list[Job]) -> None:
        outcomes: list[tuple[Job, list[Row] | Exception]] = []
        batch: list[Job] = []
        for job in jobs:
            if job.statement is None:
                batch.append(job)
                continue
            if batch:
                outcomes += self._publish(batch)
                batch = []
            outcomes.append((job, self._execute(job)))
        if batch:
            outcomes += self._publish(batch)
        _resolve(outcomes)

    def _publish(self, batch: list[Job]) -> list[tuple[Job, list[Row] | Exception]]:
        channels, payloads = self._stream.encode(entry for job in batch for entry in job.entries)
        outcome: list[Row] | Exception = []
        try:
            self._notify(channels, payloads, batch[0].deadline)
        except PublishError as error:
            outcome = error
        if not all(job.quiet for job in batch):
            self._dirty.update(channels)
        return [(job, outcome) for job in batch]

    def _notify(self, channels: list[str], payloads: list[bytes], deadline: float) -> None:
        # Repeating it after a broken connection is safe, because the notifications are numbered
        # and a receiver drops what it already has.
        params: list[bytes | None] = [
            array_literal(channel.encode() for channel in channels),
            array_literal(payloads),
        ]
        attempt = 0
        while True:
            try:
                self._roundtrip(
                    lambda pgconn: pgconn.send_query_prepared(b"notify", params), self._connection()
                )
                return
            except psycopg.OperationalError as error:
                self._close()
                attempt += 1
                pause = backoff(attempt, cap=1.0)
                if time.monotonic() + pause > deadline:
                    raise PublishError(f"Postgres cannot be reached: {error}") from error
                if attempt > 1:
                    # The first is usually the connection that died while nothing was sent.
                    logger.warning("publishing fails, will retry: %s", error)
                time.sleep(pause)

    def _execute(self, job: Job) -> list[Row] | Exception:
        assert job.statement is not None
        statement, params = job.statement
        try:
            pgconn = self._connection(check=True)
            result = self._roundtrip(
                lambda pgconn: pgconn.send_query_params(statement, params), pgconn
            )
        except PublishError as error:
            return error
        except psycopg.OperationalError as error:
            self._close()
            failure = PublishError(f"the connection to Postgres broke: {error}")
            failure.__cause__ = error
            return failure
        return [
            tuple(result.get_value(row, column) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]

    def _send_tips(self) -> None:
        channels, payloads = self._stream.tips(self._dirty)
        self._dirty.clear()
        try:
            self._notify(channels, payloads, time.monotonic() + STATEMENT_SECONDS)
        except PublishError as error:
            logger.warning("a stream's position could not be repeated: %s", error)

    def _connection(self, *, check: bool = False) -> pq.abc.PGconn:
        if self._conn is not None and check:
            # A statement that must not be repeated should not be the one that finds out that the
            # connection died while nothing was sent.
            readable, _, _ = select.select([self._conn.pgconn.socket], [], [], 0)
            if readable:
                try:
                    self._conn.pgconn.consume_input()
                except psycopg.OperationalError:
                    self._close()
        if self._conn is None:
            self._conn = psycopg.Connection.connect(autocommit=True, **self._params())
            self._conn.add_notice_handler(_log_notice)
            self._roundtrip(
                lambda pgconn: pgconn.send_prepare(b"notify", NOTIFY.format("$1", "$2").encode()),
                self._conn.pgconn,
            )
        return self._conn.pgconn

    def _roundtrip(
        self, send: Callable[[pq.abc.PGconn], None], pgconn: pq.abc.PGconn
    ) -> pq.abc.PGresult:
        """One statement and its result, without psycopg's cursors: they would double its cost.

        Raises OperationalError if the connection is broken or silent, PublishError if Postgres
        refused.
        """
        deadline = time.monotonic() + STATEMENT_SECONDS
        poll = select.poll()

        def wait(events: int) -> int:
            poll.register(pgconn.socket, events)
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise psycopg.OperationalError(f"no answer in {STATEMENT_SECONDS:g} s")
            return ready[0][1]

        send(pgconn)
        while pgconn.flush():
            if wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                pgconn.consume_input()
        while pgconn.is_busy():
            wait(select.POLLIN)
            pgconn.consume_input()
        result = pgconn.get_result()
        while pgconn.get_result() is not None:
            pass
        if result is None:
            raise psycopg.OperationalError("the connection was lost")
        if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            return result
        raise _failure(result)

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def _log_notice(notice: psycopg.errors.Diagnostic) -> None:
    # Postgres warns here when its notification queue is more than half full.
    logger.warning("Postgres says: %s", notice.message_primary)


def _failure(result: pq.abc.PGresult) -> Exception:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = result.get_error_message()
    # 08: connection exceptions; 57P: the server shuts down or restarts; 26000: a pooler gave us a
    # server connection that has not seen our PREPARE. All go away with a new connection.
    if state.startswith(("08", "57P")) or state == "26000" or not state:
        return psycopg.OperationalError(message)
    if state == _PROGRAM_LIMIT_EXCEEDED:
        return NotifyQueueFull(message)
    return PublishError(message)


def _resolve(outcomes: list[tuple[Job, list[Row] | Exception]]) -> None:
    """Tell everyone who waits; one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, list[Row] | Exception]]] = {}
    for job, outcome in outcomes:
        if job.loop is None:
            job.resolve(outcome)
        else:
            by_loop.setdefault(job.loop, []).append((job, outcome))
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve_here, pairs)
        except RuntimeError:
            # The loop was closed, so nobody waits any more.
            logger.debug("%d publishers' event loop is gone", len(pairs))


def _resolve_here(outcomes: list[tuple[Job, list[Row] | Exception]]) -> None:
    for job, outcome in outcomes:
        job.resolve(outcome)
