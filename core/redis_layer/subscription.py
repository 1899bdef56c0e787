"""One subscribed connection for each event loop and host."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import ConnectionError as Lost

from channels_pgnotify.connection import backoff
from channels_pgnotify.errors import ListenError
from core.redis_layer.host import BACKOFF_CAP, CONNECT_SECONDS, Host, close_pool, reason

logger = structlog.get_logger(__name__)

# How long a caller waits for a subscription to be effective before it gets a ListenError.
SUBSCRIBE_SECONDS = 10.0
# Redis channels in one SUBSCRIBE.
CHUNK = 1_000


class Subscription:
    """What one event loop hears from one host.

    `arrived` takes each message's Redis channel and body. `missed` is called once the connection
    was lost and everything is subscribed again; what was published meanwhile is gone for good.
    `beat` is called every `heartbeat` seconds.
    """

    def __init__(
        self,
        host: Host,
        *,
        heartbeat: float,
        arrived: Callable[[bytes, bytes], None],
        missed: Callable[[], None],
        beat: Callable[[], None],
    ) -> None:
        self._host = host
        self._heartbeat = heartbeat
        self._arrived = arrived
        self._missed = missed
        self._beat = beat
        self._pool = host.loop_pool()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._heard = True
        # Redis channels: what should be heard, is heard, waits to be asked for, is being left.
        self._wanted: set[bytes] = set()
        self._effective: set[bytes] = set()
        self._missing: set[bytes] = set()
        self._unwanted: set[bytes] = set()
        self._leaving: set[bytes] = set()
        # After a loss: what is not subscribed again yet.
        self._restoring: set[bytes] | None = None
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._impatient: set[asyncio.Future[None]] = set()

    async def subscribe(self, channel: bytes, *, patient: bool = True) -> None:
        """Return once what is published there arrives here, or raise ListenError.

        Without patience, also return when Redis is away: a gap follows its return.
        """
        self._unwanted.discard(channel)
        if channel in self._effective:
            return
        if channel not in self._wanted:
            self._wanted.add(channel)
            self._missing.add(channel)
            self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name="redis subscription")
        if not patient and self._restoring is not None:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(channel, []).append(waiter)
        if not patient:
            self._impatient.add(waiter)
            waiter.add_done_callback(self._impatient.discard)
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await waiter
        except TimeoutError:
            raise ListenError(
                f"{self._host.name}: no subscription within {SUBSCRIBE_SECONDS:g} s"
            ) from None

    def unsubscribe(self, channel: bytes) -> None:
        """Stop hearing a Redis channel at the next beat, unless it is wanted again before."""
        self._unwanted.add(channel)

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await close_pool(self._pool)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began = loop.time()
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - without a successor, nothing is ever heard
                self._restoring = set()
                for waiter in list(self._impatient):
                    waiter.set_result(None)
                if loop.time() - began > self._heartbeat:
                    attempt = 0
                attempt += 1
                logger.warning("redis_subscription_lost", host=self._host.name, error=reason(error))
            await asyncio.sleep(backoff(attempt, cap=BACKOFF_CAP))

    async def _listen(self) -> None:
        """Subscribe to what is wanted and pass on what arrives, until the connection is lost."""
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await self._pool.get_connection()
        try:
            self._heard = True
            self._missing = set(self._wanted)
            self._changed.set()
            if self._restoring is not None:
                self._restoring = set(self._wanted) or None
            tasks = {
                asyncio.create_task(self._read(connection)),
                asyncio.create_task(self._write(connection)),
            }
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
            raise next(error for error in ended if isinstance(error, Exception))
        finally:
            self._effective.clear()
            self._leaving.clear()
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _read(self, connection: Any) -> None:
        while True:
            answer = await connection.read_response()
            self._heard = True
            if type(answer) is not list:
                continue
            kind = answer[0]
            if kind == b"message":
                self._arrived(answer[1], answer[2])
            elif kind == b"subscribe":
                self._subscribed(answer[1])
            elif kind == b"unsubscribe":
                self._left(answer[1])

    def _subscribed(self, channel: bytes) -> None:
        self._effective.add(channel)
        for waiter in self._waiters.pop(channel, ()):
            if not waiter.done():
                waiter.set_result(None)
        if self._restoring is not None:
            self._restoring.discard(channel)
            if not self._restoring:
                self._restoring = None
                logger.info("redis_subscribed_again", host=self._host.name)
                self._missed()

    def _left(self, channel: bytes) -> None:
        self._leaving.discard(channel)
        if channel in self._wanted:
            # Wanted again meanwhile; answers come in the order of what was asked.
            self._missing.add(channel)
            self._changed.set()

    async def _write(self, connection: Any) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._heartbeat
        while True:
            asked = self._missing - self._leaving
            self._missing.clear()
            await self._send(connection, "SUBSCRIBE", asked)
            self._changed.clear()
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                await self._on_beat(connection)
                due = loop.time() + self._heartbeat

    async def _on_beat(self, connection: Any) -> None:
        if not self._heard:
            # A loop that was busy all the while may have an answer, and not have looked yet.
            await asyncio.sleep(0.05)
            if not self._heard:
                raise Lost(f"nothing was heard for {self._heartbeat:g} s")
        self._heard = False
        self._beat()
        leaving = self._unwanted & self._effective
        self._unwanted -= leaving
        self._leaving |= leaving
        self._wanted -= leaving
        self._effective -= leaving
        await self._send(connection, "UNSUBSCRIBE", leaving)
        async with asyncio.timeout(self._heartbeat):
            await connection.send_command("PING")

    async def _send(self, connection: Any, command: str, channels: set[bytes]) -> None:
        ordered = sorted(channels)
        for start in range(0, len(ordered), CHUNK):
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await connection.send_command(command, *ordered[start : start + CHUNK])
