"""Procrastinate's connection to Postgres, made to outlast Postgres.

Procrastinate 3.10's worker ends, or goes on deaf, when a query of its own fails: a heartbeat, a
fetch, its LISTEN. Here a query waits until the database is back instead, so running jobs are
left in peace; and whoever watches can see how long the database has not answered.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import psycopg
import psycopg_pool
import structlog
from procrastinate import connector, exceptions, sql
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg import sql as composing

from channels_pgnotify.connection import backoff
from core.jobs import SIGNALS
from core.metrics import CONNECTIONS, CONNECTIONS_BUSY, STATEMENTS

logger = structlog.get_logger(__name__)

_FETCH = sql.queries["fetch_job"]
_FINISH = sql.queries["finish_job"]
_HEARTBEAT = sql.queries["update_heartbeat"]
_LISTEN_CHECK = 10.0  # seconds of silence after which the LISTEN connection is asked for an answer
_ANSWER = 5.0  # seconds it has to give one
_POOL_SECONDS = 1.0  # that a query waits for a connection before it is tried again
# A query this slow means that the database was away, though it did not say so.
_STALL = 2.0

_STATEMENTS = STATEMENTS.labels("queue")

SignalHandler = Callable[[Mapping[str, str]], None]


def _pool(**options: Any) -> psycopg_pool.AsyncConnectionPool[Any]:
    # A query on a dead connection is repeated anyway, so testing each one before use is waste. The
    # pool's own backoff would go on for seconds after the database is back.
    return psycopg_pool.AsyncConnectionPool(**{**options, "check": None, "reconnect_timeout": 0.0})


async def _commit_lazily(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute("SET synchronous_commit TO off")


class SteadyConnector(PsycopgConnector):
    """For one worker. `params` are psycopg's for queries, `listen_params` for LISTEN.

    `on_signal` gets what `core.jobs.signal_workers_on_commit` sends. With `lazy_commits` no
    query waits for the disk: a crash of the database may forget that a job was fetched or has
    ended, and then it runs again. For connections that keep their settings, so not PgBouncer's.
    """

    def __init__(
        self,
        *,
        params: Mapping[str, Any],
        listen_params: Mapping[str, Any],
        on_signal: SignalHandler,
        lazy_commits: bool = False,
    ) -> None:
        super().__init__(
            pool_factory=_pool,
            kwargs={**params, "autocommit": True},
            min_size=1,
            max_size=4,
            timeout=_POOL_SECONDS,
            configure=_commit_lazily if lazy_commits else None,
        )
        self._listen_params = dict(listen_params)
        self._on_signal = on_signal
        self._arrivals = 0
        self._announce: Callable[[], Awaitable[None]] | None = None
        self._give_up_at = float("inf")
        now = time.monotonic()
        self.steady_since = now
        self.heartbeat_at = now
        self.listening = False
        CONNECTIONS.labels("queue").set_function(lambda: self._pooled()[0])
        CONNECTIONS_BUSY.labels("queue").set_function(lambda: self._pooled()[1])

    def _pooled(self) -> tuple[int, int]:
        """How many connections the queue's statements share, and how many of them are in use."""
        if self._async_pool is None:
            return 0, 0
        stats = self._async_pool.get_stats()
        return stats["pool_size"], stats["pool_size"] - stats["pool_available"]

    def give_up_after(self, seconds: float) -> None:
        """From then on, raise what the database raises: the process wants to end."""
        self._give_up_at = time.monotonic() + seconds

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        """Run a statement; see the module's docstring."""
        try:
            await self._steadily(super().execute_query_async, query, arguments)
        except exceptions.ConnectorException as error:
            # The job is not ours any more: this process was taken for dead, or the answer to the
            # first try was lost.
            if query is not _FINISH or not isinstance(
                error.__cause__, psycopg.errors.RaiseException
            ):
                raise
            logger.warning("job_not_ours", job=arguments.get("job_id"))
        if query is _HEARTBEAT:
            self.heartbeat_at = time.monotonic()
        elif query is _FINISH and self._announce is not None:
            # The next job of the same lock can run now, and nobody else would say so.
            await self._announce()

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        """Run a query for one row; see the module's docstring."""
        while True:
            seen = self._arrivals
            row: dict[str, Any] = await self._steadily(
                super().execute_query_one_async, query, arguments
            )
            # Procrastinate forgets announcements that come while it fetches. One of them may be
            # of a job that this fetch was too early to see.
            if query is not _FETCH or row["id"] is not None or self._arrivals == seen:
                return row

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query for all rows; see the module's docstring."""
        rows: list[dict[str, Any]] = await self._steadily(
            super().execute_query_all_async, query, arguments
        )
        return rows

    async def _steadily(
        self, execute: Callable[..., Awaitable[Any]], query: Any, arguments: dict[str, Any]
    ) -> Any:
        attempt = 0
        while True:
            _STATEMENTS.inc()
            began = time.monotonic()
            try:
                return await execute(query, **arguments)
            except exceptions.ConnectorException as error:
                if not _is_away(error) or time.monotonic() > self._give_up_at:
                    raise
                attempt += 1
                if attempt == 1:
                    cause = type(error.__cause__).__name__
                    logger.warning("job_queue_away", error=cause)
                self.steady_since = time.monotonic()
            finally:
                if time.monotonic() - began > _STALL:
                    self.steady_since = time.monotonic()
            await asyncio.sleep(backoff(attempt, cap=1.0))
            self.steady_since = time.monotonic()

    async def listen_notify(
        self, on_notification: connector.Notify, channels: Iterable[str]
    ) -> None:
        """Pass on announcements until cancelled; whatever was missed meanwhile is looked for."""
        announcements = list(channels)

        async def announce() -> None:
            self._arrivals += 1
            payload = json.dumps({"type": "job_inserted", "job_id": 0})
            await on_notification(channel=announcements[0], payload=payload)

        self._announce = announce
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(_ANSWER):
                    listener = await psycopg.AsyncConnection.connect(
                        **self._listen_params, autocommit=True
                    )
                async with listener:
                    for channel in (*announcements, SIGNALS):
                        statement = composing.SQL("LISTEN {}").format(composing.Identifier(channel))
                        await listener.execute(statement)
                    self.listening = True
                    attempt = 0
                    await announce()
                    await self._listen(listener, on_notification)
            except (psycopg.Error, OSError, TimeoutError) as error:
                if attempt == 0:
                    logger.warning("job_listener_lost", error=type(error).__name__)
            finally:
                self.listening = False
            attempt += 1
            await asyncio.sleep(backoff(attempt, cap=1.0))

    async def _listen(
        self, listener: psycopg.AsyncConnection[Any], on_notification: connector.Notify
    ) -> None:
        while True:
            async for notification in listener.notifies(timeout=_LISTEN_CHECK):
                if notification.channel == SIGNALS:
                    self._on_signal(json.loads(notification.payload))
                    continue
                self._arrivals += 1
                await on_notification(channel=notification.channel, payload=notification.payload)
            async with asyncio.timeout(_ANSWER):
                await listener.execute("SELECT 1")


def _is_away(error: exceptions.ConnectorException) -> bool:
    cause = error.__cause__
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError) and not isinstance(
        cause, psycopg_pool.PoolClosed
    )
