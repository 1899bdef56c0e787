"""The worker process: everything it runs, how it notices that something died, how it ends."""

import asyncio
import copy
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error as DatabaseError
from procrastinate import App
from procrastinate.contrib.django import app
from procrastinate.job_context import JobContext
from procrastinate.periodic import PeriodicRegistry
from procrastinate.worker import Worker

from accounts.services.sessions import delete_expired_sessions
from channels_pgnotify.connection import Database, connection_params
from chat import unread
from chat.llm import close_clients
from chat.replies import reaper
from chat.replies.active import Halt
from chat.replies.flusher import Flusher
from chat.replies.runner import Runner
from chat.services import reactions, topic_rows
from chat.services.reply_actions import STOP_SIGNAL
from chatire.worker.connector import SteadyConnector
from chatire.worker.probe import Health, serve_probe
from core.health import database_answers
from core.jobs import announce_jobs
from core.threads import in_thread

logger = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 2.0
# Jobs are announced; this is for announcements that got lost.
_POLL_SECONDS: Final = 5.0
_REAP_SECONDS: Final = 1.5
_CLEAN_UP_SECONDS: Final = 60.0
_FORGOTTEN_SECONDS: Final = 5.0
_SESSIONS_SECONDS: Final = 3600.0
# With the database there, a heartbeat this old means that a loop of ours is dead.
_DEAF_SECONDS: Final = 20.0
_CLOSE_TIMEOUT: Final = 5.0
_DATABASE_SECONDS: Final = 60.0


class WorkerFailed(Exception):
    """A part of the worker died; the process must end, so that its supervisor starts it anew."""


class WorkerProcess:
    """One worker. `run` returns after a stop was asked for, and raises WorkerFailed otherwise."""

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        drain_seconds: float | None = None,
        port: int | None = None,
    ) -> None:
        self._concurrency = concurrency or settings.WORKER_CONCURRENCY
        self._drain_seconds = (
            settings.WORKER_DRAIN_SECONDS if drain_seconds is None else drain_seconds
        )
        self._port = settings.WORKER_HEALTH_PORT if port is None else port
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._running_jobs: set[int] = set()
        self._beats: dict[str, float] = {}
        # Those of the threads on which synchronous tasks run.
        self._connections: set[BaseDatabaseWrapper] = set()
        self.ready = asyncio.Event()
        self.port = 0
        self.flusher = Flusher(_connect_flusher)
        self.runner = Runner(self.flusher)
        self.connector = SteadyConnector(
            params=_pooled_params("chatire-worker"),
            listen_params=_direct_params("chatire-worker-listen"),
            on_signal=self._on_signal,
            # What a job does is safe to repeat and commits on other connections.
            lazy_commits=settings.DIRECT_DATABASE is None,
        )

    def stop(self) -> None:
        """Stop: the first time after the replies have ended or been handed back, then at once."""
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    async def run(self) -> None:
        """Run until stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            await self._run()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _run(self) -> None:
        probe = await serve_probe(self._port, self._health, host=settings.BIND_HOST)
        self.port = probe.sockets[0].getsockname()[1]
        queue = _queue(self.connector)
        try:
            await self._until_database_answers()
            async with queue.open_async():
                self._worker = self._new_worker(queue)
                jobs = asyncio.create_task(_work(self._worker), name="jobs")
                loops = [
                    asyncio.create_task(self.flusher.run(), name="flusher"),
                    self._every(_REAP_SECONDS, self._take_over, "reaper"),
                    self._every(_REAP_SECONDS, self._count_reactions, "reactions"),
                    self._every(_FORGOTTEN_SECONDS, self._find_forgotten, "forgotten"),
                    self._every(_CLEAN_UP_SECONDS, self._clean_up, "clean_up"),
                    self._every(_SESSIONS_SECONDS, _in_thread(delete_expired_sessions), "sessions"),
                    asyncio.create_task(self._watch(), name="watch"),
                ]
                self.ready.set()
                logger.info("worker_ready", port=self.port, concurrency=self._concurrency)
                try:
                    await self._until_done(jobs, loops)
                finally:
                    for task in loops:
                        task.cancel()
                    await asyncio.gather(*loops, return_exceptions=True)
        finally:
            probe.close()
            await self._close()

    async def _until_database_answers(self) -> None:
        """Wait for a database that starts later than we do."""
        began = time.monotonic()
        while not await in_thread(database_answers):
            if time.monotonic() - began > _DATABASE_SECONDS or self._stop_asked.is_set():
                logger.error("database_does_not_answer")
                raise WorkerFailed
            await asyncio.sleep(0.5)

    def _new_worker(self, queue: App) -> Worker:
        return Worker(
            app=queue,
            name="chatire",
            concurrency=self._concurrency,
            additional_context={"runner": self.runner},
            install_signal_handlers=False,
            fetch_job_polling_interval=_POLL_SECONDS,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            # Our own reaper does it, which knows when the database was away.
            stalled_worker_timeout=86_400.0,
            # Beyond our own drain; only a job that ignores it is aborted.
            shutdown_graceful_timeout=self._drain_seconds + _CLOSE_TIMEOUT,
            delete_jobs="successful",
            # Asynchronous tasks use `in_thread`, which looks after its connections itself.
            task_middleware=[self._keep_connection],
            worker_middleware=[self._count_job],
        )

    def _keep_connection(
        self, call_next: Callable[[], Any], context: JobContext, worker: Worker
    ) -> Any:
        """Run a synchronous task on a connection that works, and remember it for the end."""
        close_old_connections()
        try:
            return call_next()
        finally:
            close_old_connections()
            self._connections.add(connections[DEFAULT_DB_ALIAS])

    async def _count_job(
        self, call_next: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker
    ) -> Any:
        job_id = context.job.id
        assert job_id is not None
        self._running_jobs.add(job_id)
        try:
            return await call_next()
        finally:
            self._running_jobs.discard(job_id)

    async def _until_done(self, jobs: asyncio.Task[None], loops: list[asyncio.Task[None]]) -> None:
        stop = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({jobs, stop, *loops}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if not self._stop_asked.is_set():
            died = next((task for task in (jobs, *loops) if task.done()), jobs)
            error = None if died.cancelled() else died.exception()
            logger.error("worker_part_died", part=died.get_name(), exc_info=error)
            self._drain_seconds = 0.0
        await self._drain(jobs)
        if not self._stop_asked.is_set():
            raise WorkerFailed
        if jobs.done() and not jobs.cancelled() and jobs.exception() is not None:
            logger.warning("worker_stopped_badly", exc_info=jobs.exception())

    async def _drain(self, jobs: asyncio.Task[None]) -> None:
        logger.info("worker_draining", replies=self.runner.running, seconds=self._drain_seconds)
        self._worker.stop()  # type: ignore[no-untyped-call]
        self.connector.give_up_after(self._drain_seconds)
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait(
            {jobs, hurry}, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        hurry.cancel()
        if not jobs.done():
            self.runner.hand_back_all()
            await asyncio.wait({jobs}, timeout=_CLOSE_TIMEOUT)
        if not jobs.done():
            jobs.cancel()
            logger.warning("worker_left_jobs", jobs=len(self._running_jobs))
        try:
            # What was handed back could not be fetched before its lock was free.
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await in_thread(announce_jobs)
        except (DatabaseError, TimeoutError):
            logger.warning("hand_back_not_announced")

    async def _close(self) -> None:
        await close_clients()
        layer = get_channel_layer()
        if hasattr(layer, "close"):
            await layer.close()
        await asyncio.to_thread(unread.stop)
        await asyncio.to_thread(reactions.stop)
        await asyncio.to_thread(topic_rows.stop)
        for connection in self._connections:
            connection.inc_thread_sharing()
            connection.close()

    def _on_signal(self, message: Mapping[str, str]) -> None:
        if message.get("signal") == STOP_SIGNAL:
            self.flusher.halt(UUID(hex=message["message"]), Halt.STOPPED)

    # The loops

    def _every(
        self, seconds: float, work: Callable[[], Awaitable[Any]], name: str
    ) -> asyncio.Task[None]:
        async def loop() -> None:
            while True:
                self._beats[name] = time.monotonic() + seconds
                try:
                    await work()
                except DatabaseError as error:
                    logger.warning("loop_waits", loop=name, error=type(error).__name__)
                await asyncio.sleep(seconds)

        return asyncio.create_task(loop(), name=name)

    async def _take_over(self) -> None:
        await in_thread(reaper.take_over, judge=self._judge())

    async def _count_reactions(self) -> None:
        await in_thread(reactions.count_missed)
        await in_thread(topic_rows.refresh_missed)

    async def _clean_up(self) -> None:
        await in_thread(reaper.clean_up, judge=self._judge())

    def _judge(self) -> int | None:
        # After an outage nobody is judged before all have had the time for a new heartbeat.
        steady = time.monotonic() - self.connector.steady_since > reaper.STALLED_SECONDS
        return self._worker.worker_id if steady else None

    async def _find_forgotten(self) -> None:
        worker_id = self._worker.worker_id
        if worker_id is None:
            return
        suspects = await in_thread(reaper.jobs_of, worker_id) - self._running_jobs
        if not suspects:
            return
        # A job on its way in or out looks the same for a moment.
        await asyncio.sleep(_FORGOTTEN_SECONDS)
        forgotten = suspects & await in_thread(reaper.jobs_of, worker_id) - self._running_jobs
        if forgotten:
            await in_thread(reaper.requeue_forgotten, worker_id=worker_id, forgotten=forgotten)

    async def _watch(self) -> None:
        """Return, which ends the process, when the heartbeat has stopped and cannot resume."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            silent = time.monotonic() - max(
                self.connector.heartbeat_at, self.connector.steady_since
            )
            if silent > _DEAF_SECONDS:
                logger.error("worker_heartbeat_stopped", seconds=silent)
                return

    async def _health(self) -> Health:
        now = time.monotonic()
        database = await in_thread(database_answers)
        loops = all(now - due < _DEAF_SECONDS for due in self._beats.values())
        heartbeat = now - self.connector.heartbeat_at
        details = {
            "database": database,
            "heartbeat_age": round(heartbeat, 1),
            "listening": self.connector.listening,
            "draining": self._stop_asked.is_set(),
            "replies": self.runner.running,
            "jobs": len(self._running_jobs),
        }
        return database and loops and heartbeat < _DEAF_SECONDS, details


def _queue(connector: SteadyConnector) -> App:
    """Procrastinate's app over `connector`, also for what it enqueues by the clock.

    A task otherwise enqueues through the app it was declared on, which is Django's.
    """
    queue = app.with_connector(connector)
    queue.periodic_registry = PeriodicRegistry()  # type: ignore[no-untyped-call]
    for periodic in app.periodic_registry.periodic_tasks.values():
        task = copy.copy(periodic.task)
        task.blueprint = queue
        queue.periodic_registry.register_task(
            task=task,
            cron=periodic.cron,
            periodic_id=periodic.periodic_id,
            configure_kwargs=periodic.configure_kwargs,
        )
    return queue


async def _work(worker: Worker) -> None:
    await worker.run()  # type: ignore[no-untyped-call]


def _in_thread(work: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        return await in_thread(work)

    return call


def _pooled_params(name: str) -> dict[str, Any]:
    """Parameters for short statements, which may go through a PgBouncer."""
    params = Database(None).params(name)
    if settings.DIRECT_DATABASE is not None:
        # In its transaction mode a prepared statement is gone with the transaction.
        params["prepare_threshold"] = None
    return params


def _direct_params(name: str) -> dict[str, Any]:
    """Parameters for a session of its own, past a PgBouncer if there is one."""
    if settings.DIRECT_DATABASE is None:
        return Database(None).params(name)
    return {**connection_params(settings.DIRECT_DATABASE), "application_name": name}


async def _connect_flusher() -> psycopg.AsyncConnection[tuple[Any, ...]]:
    connection = await psycopg.AsyncConnection.connect(
        **_direct_params("chatire-flusher"), autocommit=True
    )
    try:
        # A crash empties the chunks' table in any case, so nobody waits for the disk.
        await connection.execute("SET synchronous_commit TO off")
    except BaseException:
        # Nobody else knows of it yet, also where the worker is stopped just now.
        await connection.close()
        raise
    return connection
