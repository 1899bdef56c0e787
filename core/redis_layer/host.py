"""One Redis, or the master that sentinels name: its connections, and publishing to it.

What fails is raised as PublishError without the text of a message or a password: neither redis-py's
messages about pipelines nor a URL are passed on.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from channels_redis.utils import create_pool
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.sentinel import Sentinel, SentinelConnectionPool

from channels_pgnotify.errors import PublishError

# Seconds that Redis may take to accept a connection, and to take a batch.
CONNECT_SECONDS = 3.0
PUBLISH_SECONDS = 3.0
# The longest pause between two attempts to reach it again: people wait to hear of their gap.
BACKOFF_CAP = 2.0

# What a sentinel may take to answer before the next one is asked; it is asked once.
_SENTINEL: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": None}

# A Redis channel and what is published there.
Message = tuple[str, bytes]

FAILURES = (RedisError, OSError, TimeoutError)


def reason(error: BaseException) -> str:
    """Say what went wrong with a connection."""
    name = type(error).__name__
    # Of what could not be parsed, the text repeats a part; other errors may hold anything.
    tells = isinstance(error, FAILURES) and not isinstance(error, InvalidResponse)
    return f"{name}: {error}" if tells and str(error) else name


class Host:
    """An entry of `hosts` as channels_redis takes it. Safe from any thread, and after a fork."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self._entry = dict(entry)
        if "master_name" in self._entry:
            self._entry["sentinel_kwargs"] = {
                **_SENTINEL,
                **(self._entry.get("sentinel_kwargs") or {}),
            }
        self._lock = threading.Lock()
        self._pool: Any = None

    @property
    def name(self) -> str:
        """Where it is, without user and password."""
        if "address" in self._entry:
            parts = urlsplit(self._entry["address"])
            return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        if "master_name" in self._entry:
            sentinels = ", ".join(f"{host}:{port}" for host, port in self._entry["sentinels"])
            return f"{self._entry['master_name']} (sentinels {sentinels})"
        return f"{self._entry.get('host', 'localhost')}:{self._entry.get('port', 6379)}"

    def loop_pool(self) -> Any:
        """Make a pool for one event loop, whose users set their own time limits."""
        return _plain(create_pool({"protocol": 2, **self._entry}), timeout=None)

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish from a thread, in order and in one round trip. Raises PublishError.

        Never repeated: what Redis had taken before a failure would arrive twice.
        """
        try:
            pool = self._thread_pool()
            connection = pool.get_connection()
            try:
                connection.send_packed_command(_packed(connection, messages))
                refused = None
                for _ in messages:
                    try:
                        connection.read_response()
                    except ResponseError as error:
                        refused = error
            except BaseException:
                # What is still to be read must not be taken for the next batch's answers.
                connection.disconnect()
                raise
            finally:
                pool.release(connection)
            if refused is not None:
                raise refused
        except FAILURES as error:
            raise self.failure(error) from None

    def failure(self, error: BaseException) -> PublishError:
        """Return what a publisher is told."""
        return PublishError(f"{self.name} did not take a message: {reason(error)}")

    def _thread_pool(self) -> Any:
        with self._lock:
            if self._pool is None:
                self._pool = _plain(
                    _thread_pool({"protocol": 2, **self._entry}), timeout=PUBLISH_SECONDS
                )
            return self._pool

    def close(self) -> None:
        """Close the threads' connections; publishing opens others."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.disconnect()
            for sentinel in _sentinels_of(pool):
                sentinel.close()


class LoopPublisher:
    """Publishes to one host from one event loop, in order.

    What is handed over while a batch is on its way shares the next one.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pool = host.loop_pool()
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return once Redis has taken them. Raises PublishError; never repeated."""
        taken = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, taken))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._publish_waiting())
        await taken

    async def _publish_waiting(self) -> None:
        while self._waiting:
            batches, self._waiting = self._waiting, []
            error: BaseException | None = None
            try:
                await self._send([message for batch, _ in batches for message in batch])
            except asyncio.CancelledError:
                for _, taken in batches:
                    taken.cancel()
                raise
            except Exception as failure:  # noqa: BLE001 - each waits for it, and has it raised
                error = failure
            for _, taken in batches:
                if taken.done():
                    continue
                if error is None:
                    taken.set_result(None)
                else:
                    # One each: raised in several tasks, one would collect all their tracebacks.
                    taken.set_exception(self._host.failure(error))

    async def _send(self, messages: Sequence[Message]) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await self._pool.get_connection()
        refused = None
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await connection.send_packed_command(_packed(connection, messages))
                for _ in messages:
                    try:
                        await connection.read_response()
                    except ResponseError as error:
                        refused = error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)
        if refused is not None:
            raise refused

    async def close(self) -> None:
        """Close the connection; what waits fails."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        for _, taken in self._waiting:
            taken.cancel()
        self._waiting.clear()
        await close_pool(self._pool)


def _packed(connection: Any, messages: Sequence[Message]) -> Any:
    return connection.pack_commands([("PUBLISH", channel, body) for channel, body in messages])


async def close_pool(pool: Any) -> None:
    """Close an event loop's pool, with its connections to sentinels."""
    await pool.disconnect()
    for sentinel in _sentinels_of(pool):
        await sentinel.aclose()


def _sentinels_of(pool: Any) -> Any:
    manager = getattr(pool, "sentinel_manager", None)
    return manager.sentinels if manager is not None else ()


def _plain(pool: Any, *, timeout: float | None) -> Any:
    """Set what a URL must not: the protocol that is read here, and who limits the time."""
    pool.connection_kwargs.update(
        {
            "protocol": 2,
            "socket_timeout": timeout,
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_keepalive": True,
            "decode_responses": False,
        }
    )
    return pool


def _thread_pool(entry: dict[str, Any]) -> Any:
    """Do what channels_redis's `create_pool` does, for connections of threads."""
    entry = dict(entry)
    address = entry.pop("address", None)
    if address is not None:
        return redis.ConnectionPool.from_url(address, **entry)
    service = entry.pop("master_name", None)
    if service is not None:
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            entry.pop("sentinels"), sentinel_kwargs=entry.pop("sentinel_kwargs")
        )
        return SentinelConnectionPool(service, sentinels, **entry)  # type: ignore[no-untyped-call]
    return redis.ConnectionPool(**entry)
