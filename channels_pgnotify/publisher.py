"""One thread and one connection publish for a whole process.

Event loops come and go (async_to_sync makes one per call) and a connection belongs to the loop it
was opened in, so publishing has a thread of its own that any thread or loop can hand messages to.
What is handed over while a statement is in flight shares the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from typing import Any

import psycopg

from .codec import Entry, Stream
from .errors import PublishBacklogFull, PublishError
from .session import APPLICATION_NAME, STATEMENT_SECONDS, Row, Session

logger = logging.getLogger(__name__)

# How long a message may wait for Postgres before its sender gets an error.
PUBLISH_SECONDS = 10.0
# After this much silence the stream's position is repeated once: a lost last one is noticed too.
TIP_SECONDS = 1.0
# What may wait in a process to be published: more means that Postgres does not keep up.
BACKLOG_BYTES = 64 * 2**20
# What one statement carries at most (and at least one message).
STATEMENT_BYTES = 4 * 2**20

Outcome = list[Row] | Exception
Notifications = tuple[list[str], list[bytes]]


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

    def resolve(self, outcome: Outcome) -> None:
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


class Bell:
    """Rouses a thread that waits for a connection, too."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @property
    def descriptors(self) -> tuple[int, int]:
        return self._read, self._write

    def ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self, descriptor: int, timeout: float | None) -> tuple[bool, bool]:
        """Until the bell rings, the descriptor (if any) is readable, or seconds have passed.

        Returns whether the descriptor is readable, and whether it was neither.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if descriptor >= 0:
            poll.register(descriptor, select.POLLIN)
        ready = {ready for ready, _ in poll.poll(None if timeout is None else timeout * 1000)}
        if self._read in ready:
            os.read(self._read, 1024)
        return descriptor in ready, not ready

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Publisher:
    """Takes jobs from any thread and any event loop, in order."""

    def __init__(self, params: Callable[[], dict[str, Any]]) -> None:
        # The thread's while it is awake, any locking caller's while it sleeps.
        self._session = Session(params)
        self._stream = Stream()
        self._dirty: set[str] = set()

        self._lock = threading.Lock()
        self._pending: deque[Job] = deque()
        self._pending_bytes = 0
        self._begun: tuple[Job, Notifications] | None = None
        # While messages come one by one, each is sent by whoever brings it.
        self._calm = True
        self._asleep = False
        self._bell: Bell | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

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
    def descriptors(self) -> list[int]:
        """The open file descriptors."""
        bell = self._bell
        return [
            descriptor
            for descriptor in (self._session.descriptor, *(bell.descriptors if bell else ()))
            if descriptor >= 0
        ]

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
            if (
                self._asleep
                and self._calm
                and self._begun is None
                and self._session.connected
                and not job.statement
            ):
                self._begin(job)
                return
            self._pending.append(job)
            self._pending_bytes += job.size
            if self._thread is None:
                self._stopping = False
                self._bell = Bell()
                self._thread = threading.Thread(
                    target=self._run, args=[self._bell], name=APPLICATION_NAME, daemon=True
                )
                self._thread.start()
            elif self._begun is None:
                self._rouse()
            # Otherwise the answer to what was begun will rouse it.

    def _begin(self, job: Job) -> None:
        """Send the job's statement off here and now; the thread, which sleeps, sees to the answer.

        A change of threads costs about as much as half of the statement. This way the message is
        under way before it, and the answer's arrival is what rouses the thread.
        """
        notifications = self._stream.encode(job.entries)
        self._begun = (job, notifications)
        try:
            sent = self._session.begin_notify(*notifications)
        except psycopg.OperationalError:
            # The thread will meet the same error, and knows what to do.
            sent = False
        # Unless the thread sleeps for a second at most, nothing would bound the wait.
        if not sent or not self._dirty:
            self._rouse()

    def _rouse(self) -> None:
        if self._asleep and self._bell is not None:
            self._asleep = False
            self._bell.ring()

    # What follows runs in the thread.

    def _run(self, bell: Bell) -> None:
        jobs: list[Job] = []
        try:
            while self._wait_for_work(bell):
                if self._begun is not None:
                    job, notifications = self._begun
                    jobs = [job]
                    outcome = self._notify(notifications, job.deadline, begun=True)
                    self._mark([job], notifications)
                    self._begun = None
                    _resolve([(job, outcome)])
                jobs = self._take()
                if jobs:
                    self._work(jobs)
        except BaseException as error:
            failure = PublishError("the publishing thread ended")
            failure.__cause__ = error
            with self._lock:
                jobs += self._pending
                self._pending.clear()
                self._pending_bytes = 0
                self._begun = None
                self._thread = None
                self._bell = None
                self._session.close()
            _resolve([(job, failure) for job in jobs])
            raise
        finally:
            bell.close()

    def _wait_for_work(self, bell: Bell) -> bool:
        """Returns when there is something to do; False when the thread should end."""
        while True:
            with self._lock:
                if self._begun is not None or self._pending:
                    return True
                if self._stopping:
                    self._thread = None
                    self._bell = None
                    self._session.close()
                    return False
                self._asleep = True
            answered, timed_out = bell.wait(
                self._session.descriptor, TIP_SECONDS if self._dirty else None
            )
            with self._lock:
                self._asleep = False
                if self._begun is not None or self._pending:
                    return True
            if answered:
                # Nothing was asked: the server is going away, or has a notice for us.
                self._session.heed()
            elif timed_out:
                self._send_tips()

    def _take(self) -> list[Job]:
        """The jobs for one go."""
        jobs: list[Job] = []
        size = 0
        with self._lock:
            while self._pending and (not jobs or size < STATEMENT_BYTES):
                job = self._pending.popleft()
                size += job.size
                jobs.append(job)
            self._pending_bytes -= size
            self._calm = len(jobs) <= 1
        return jobs

    def _work(self, jobs: list[Job]) -> None:
        outcomes: list[tuple[Job, Outcome]] = []
        batch: list[Job] = []
        for job in jobs:
            if job.statement is None:
                batch.append(job)
                continue
            if batch:
                outcomes += self._publish(batch)
                batch = []
            outcomes.append((job, self._execute(*job.statement)))
        if batch:
            outcomes += self._publish(batch)
        _resolve(outcomes)

    def _publish(self, batch: list[Job]) -> list[tuple[Job, Outcome]]:
        notifications = self._stream.encode(entry for job in batch for entry in job.entries)
        outcome = self._notify(notifications, batch[0].deadline)
        self._mark(batch, notifications)
        return [(job, outcome) for job in batch]

    def _notify(
        self, notifications: Notifications, deadline: float, *, begun: bool = False
    ) -> Outcome:
        try:
            self._session.finish_notify(*notifications, deadline, begun=begun)
        except PublishError as error:
            return error
        return []

    def _mark(self, batch: list[Job], notifications: Notifications) -> None:
        if not all(job.quiet for job in batch):
            self._dirty.update(notifications[0])

    def _execute(self, statement: bytes, params: list[bytes | None]) -> Outcome:
        try:
            return self._session.execute(statement, params)
        except PublishError as error:
            return error

    def _send_tips(self) -> None:
        tips = self._stream.tips(self._dirty)
        self._dirty.clear()
        error = self._notify(tips, time.monotonic() + STATEMENT_SECONDS)
        if isinstance(error, Exception):
            logger.warning("a stream's position could not be repeated: %s", error)


def _resolve(outcomes: list[tuple[Job, Outcome]]) -> None:
    """Tell everyone who waits; one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Outcome]]] = {}
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


def _resolve_here(outcomes: list[tuple[Job, Outcome]]) -> None:
    for job, outcome in outcomes:
        job.resolve(outcome)
