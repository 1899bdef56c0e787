"""What arrives for one event loop: one LISTEN connection, the local channels and their groups."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

import msgpack
import psycopg
from psycopg import pq

from .codec import BATCH, FRAGMENT, MAX_MESSAGE_SIZE, TIP, Entry, decode
from .connection import backoff
from .errors import ListenError, PublishError
from .mailbox import Event, Mailbox, Message
from .publisher import Publisher

logger = logging.getLogger(__name__)

APPLICATION_NAME = "chatire listen"

# How long a caller waits for LISTEN to be effective before it gets a ListenError.
LISTEN_SECONDS = 10.0
# How many heartbeats a publisher's stream is remembered after its last notification.
STREAM_TICKS = 60
# How often the socket is read before other tasks of the loop have their turn.
READS_PER_WAKE = 8
# How many notifications in one read make another read worth its while.
WORTH_ANOTHER_READ = 4


class _Received:
    """How far one publisher's stream has come on one Postgres channel."""

    __slots__ = ("last", "stale", "tick")

    def __init__(self, last: int, tick: int) -> None:
        self.last = last
        self.tick = tick
        # After a reconnect numbers may be missing; every channel has been told so already.
        self.stale = False


class _Assembly:
    """A message of which some fragments have come. At most one at a time for a connection, since
    Postgres keeps the notifications of one statement together."""

    __slots__ = ("chunks", "key", "name", "size")

    def __init__(self, key: tuple[int, bytes], name: str) -> None:
        self.key = key
        self.name = name
        self.chunks: list[bytes] = []
        self.size = 0


class Listener:
    """Belongs to one event loop; nothing here may be called from another thread."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        params: Callable[[], dict[str, Any]],
        publisher: Publisher,
        inbox: str,
        wake_channel: str,
        deserialize: Callable[[bytes], Message],
        expiry: Callable[[], float],
        group_expiry: float,
        heartbeat: float,
        signals_gaps: bool,
    ) -> None:
        self.loop = loop
        self.mailboxes: dict[str, Mailbox] = {}
        self.groups: dict[str, dict[str, Mailbox]] = {}
        self._params = params
        self._publisher = publisher
        self._inbox = inbox
        self._inbox_key = inbox.encode()
        self._wake_key = wake_channel.encode()
        self._deserialize = deserialize
        self._expiry = expiry
        self._group_expiry = group_expiry or 86_400.0
        self._heartbeat = heartbeat
        self._signals_gaps = signals_gaps

        self._task: asyncio.Task[None] | None = None
        self._conn: psycopg.AsyncConnection[Any] | None = None
        self._pgconn: pq.abc.PGconn | None = None
        self._socket = -1
        self._lost: asyncio.Future[str] | None = None
        self._wanted = {inbox}
        self._effective: set[str] = set()
        self._asked: set[str] = set()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._streams: dict[tuple[int, bytes], _Received] = {}
        self._assembly: _Assembly | None = None
        self._tick = 0
        self._beat_name = f"\0{secrets.token_hex(8)}"
        self._beats: list[asyncio.Future[None]] = []

    # Local channels and groups

    def add_to_group(self, group: str, channel: str, mailbox: Mailbox) -> None:
        self.groups.setdefault(group, {})[channel] = mailbox
        mailbox.groups.add(group)

    def discard_from_group(self, group: str, channel: str) -> None:
        members = self.groups.get(group)
        if members is None:
            return
        mailbox = members.pop(channel, None)
        if mailbox is not None:
            mailbox.groups.discard(group)
        if not members:
            del self.groups[group]

    def forget(self, channel: str) -> None:
        """Drop a channel, its groups and what waits for it."""
        mailbox = self.mailboxes.pop(channel, None)
        if mailbox is not None:
            for group in list(mailbox.groups):
                self.discard_from_group(group, channel)

    def deliver(self, channel: str, body: bytes) -> bool:
        """Put a message into a local channel. False if its mailbox is full or unknown."""
        mailbox = self.mailboxes.get(channel)
        if mailbox is None or (mailbox.full and not mailbox.awaited):
            return False
        return mailbox.put(Event(body, self._deserialize, self.loop.time() + self._expiry()))

    def signal_gap(self) -> None:
        """Tell every local channel that it may have missed something."""
        self._assembly = None
        if self._signals_gaps:
            for mailbox in self.mailboxes.values():
                mailbox.put_gap()

    # The LISTEN connection

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

    def forget_all(self) -> None:
        for channel in list(self.mailboxes):
            self.forget(channel)

    async def close(self) -> None:
        """End the connection and forget every channel and group."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])
        self.mailboxes.clear()
        self.groups.clear()
        self._streams.clear()
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
                        self.signal_gap()
                        self.wake_named()
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
        for received in self._streams.values():
            received.stale = True
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
        self._beats.clear()
        self._assembly = None

    async def _watch(self) -> str:
        """Returns why the connection must be replaced, when it must be."""
        assert self._lost is not None
        while True:
            await asyncio.wait([self._lost], timeout=self._heartbeat)
            if self._lost.done():
                return self._lost.result()
            self._tick += 1
            self._sweep()
            self.wake_named()
            if not await self.beats():
                return "a heartbeat did not come back: is a transaction-mode pooler in between?"

    async def beats(self) -> bool:
        """Whether what this process publishes arrives here."""
        assert self._lost is not None
        patience = max(1.0, self._heartbeat / 2)
        beat: asyncio.Future[None] = self.loop.create_future()
        self._beats.append(beat)
        try:
            async with asyncio.timeout(patience):
                await self._publisher.publish(
                    [Entry(self._inbox, self._beat_name, b"")], quiet=True
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

    def _sweep(self) -> None:
        """Forget publishers long silent and channels long unread."""
        for key in [k for k, r in self._streams.items() if self._tick - r.tick > STREAM_TICKS]:
            del self._streams[key]
        for channel, mailbox in list(self.mailboxes.items()):
            mailbox.idle_ticks = 0 if mailbox.read or mailbox.awaited else mailbox.idle_ticks + 1
            mailbox.read = False
            life = self._group_expiry if mailbox.groups else self._expiry()
            if mailbox.idle_ticks * self._heartbeat > life:
                self.forget(channel)

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
            for _ in range(READS_PER_WAKE):
                pgconn.consume_input()
                count = 0
                while (notification := pgconn.notifies()) is not None:
                    self._notified(notification.relname, notification.extra)
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

    # Notifications

    def _notified(self, pg_channel: bytes, payload: bytes) -> None:
        if pg_channel == self._wake_key:
            self._wake(payload)
            return
        try:
            items = decode(payload)
            stream, number, kind = items[:3]
            in_order = self._in_order((stream, pg_channel), number, kind)
        except (ValueError, TypeError, msgpack.UnpackException):
            logger.warning("a notification that is not of this layer was ignored")
            return
        if not in_order:
            return
        names = self.mailboxes if pg_channel == self._inbox_key else self.groups
        if kind == BATCH:
            for index in range(3, len(items) - 1, 2):
                if items[index] in names:
                    self._arrived(pg_channel, items[index], items[index + 1])
                elif items[index] == self._beat_name:
                    for beat in self._beats:
                        if not beat.done():
                            beat.set_result(None)
                    self._beats.clear()
        elif kind == FRAGMENT:
            self._assemble((stream, pg_channel), items[3:], names)

    def _in_order(self, key: tuple[int, bytes], number: int, kind: int) -> bool:
        """Whether to take the notification; notices what is missing before it."""
        received = self._streams.get(key)
        if received is None:
            self._streams[key] = _Received(number, self._tick)
            return kind != TIP
        received.tick = self._tick
        expected = received.last if kind == TIP else received.last + 1
        if number < expected:
            # A repetition after the publisher's connection broke.
            return False
        if number > expected and not received.stale:
            logger.warning("%d notifications were lost", number - expected)
            received.last = number
            self.signal_gap()
            return kind != TIP
        received.last = number
        received.stale = False
        return kind != TIP

    def _assemble(self, key: tuple[int, bytes], fragment: list[Any], names: dict[str, Any]) -> None:
        name, index, count, chunk = fragment
        assembly = self._assembly
        if index == 0:
            self._assembly = assembly = _Assembly(key, name) if name in names else None
        if assembly is None:
            return
        size = assembly.size + len(chunk)
        if assembly.key != key or len(assembly.chunks) != index or size > MAX_MESSAGE_SIZE:
            logger.warning("a message of %d parts was incomplete", count)
            self.signal_gap()
            return
        assembly.chunks.append(chunk)
        assembly.size = size
        if index == count - 1:
            self._assembly = None
            self._arrived(key[1], name, b"".join(assembly.chunks))

    def _arrived(self, pg_channel: bytes, name: str, body: bytes) -> None:
        try:
            event = Event(body, self._deserialize, self.loop.time() + self._expiry())
        except Exception:
            # Whatever a serializer raises (a key that differs, say), the others must get theirs.
            logger.exception("a message could not be read")
            self.signal_gap()
            return
        if pg_channel == self._inbox_key:
            mailbox = self.mailboxes.get(name)
            if mailbox is not None and not mailbox.put(event):
                logger.info("a channel is over capacity")
            return
        members = self.groups.get(name)
        if members is None:
            return
        lagging = 0
        for mailbox in members.values():
            lagging += not mailbox.put(event)
        if lagging:
            logger.info("%d of %d channels over capacity in group %s", lagging, len(members), name)

    def _wake(self, payload: bytes) -> None:
        # channels_postgres's own trigger sends "id:channel:…" for each row of its message table.
        parts = payload.split(b":", 2)
        if len(parts) >= 2:
            mailbox = self.mailboxes.get(parts[1].decode())
            if mailbox is not None:
                mailbox.wake()

    def wake_named(self) -> None:
        """Make the readers of all named channels look at the table."""
        for channel, mailbox in self.mailboxes.items():
            if "!" not in channel:
                mailbox.wake()
