from __future__ import annotations

import asyncio
import os
import threading
import uuid
import weakref
import zlib
from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from channels.exceptions import ChannelFull
from channels_postgres.core import PostgresChannelLayer as TableChannelLayer
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.transaction import TransactionManagementError

from . import lifecycle, session
from . import listener as listening
from .codec import Entry, Stream, array_literal, check_size, pg_channel_name
from .connection import Database
from .delivery import LocalChannels
from .errors import ListenError, NotifyQueueFull, PublishError
from .listener import Listener
from .mailbox import GAP, Event, Item, Mailbox, Message, ParkedMessages, Taker
from .publisher import Publisher
from .session import NOTIFY
from .table import TABLE_CHANNEL, MessageTable

# After a fork the child keeps its parent's connections from being closed by forgetting them here.
_inherited: list[Any] = []


class PostgresChannelLayer(TableChannelLayer):  # type: ignore[misc]
    """A channel layer on LISTEN and NOTIFY.

    Takes the settings of channels_postgres (database settings may be left out: Django's default
    database is then used) and of Channels (`capacity`, `channel_capacity`), and:

    - `gap_type`: when messages may have been missed, every local channel gets
      `{"type": gap_type}`; None for no such message;
    - `heartbeat`: seconds between checks that what is published arrives;
    - `shards`: how many Postgres channels the groups are spread over; the same everywhere.

    docs/channel-layer.md has the guarantees and limits.
    """

    def __init__(
        self,
        prefix: str = "asgi",
        expiry: float = 60,
        group_expiry: float = 0,
        symmetric_encryption_keys: Sequence[str | bytes] | None = None,
        capacity: int = 100,
        channel_capacity: dict[str, int] | None = None,
        gap_type: str | None = None,
        heartbeat: float = 10.0,
        shards: int = 1,
        **settings: Any,
    ) -> None:
        options = settings.pop("PSYCOPG_OPTIONS", {})
        has_database = any(key.isupper() for key in settings)
        self._database = Database(settings if has_database else None)
        super().__init__(
            prefix=prefix,
            expiry=expiry,
            group_expiry=group_expiry,
            symmetric_encryption_keys=symmetric_encryption_keys,
            PSYCOPG_OPTIONS=options,
            **self._database.settings,
        )
        self.capacity = capacity
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.gap_type = gap_type
        self.heartbeat = heartbeat
        self._shard_count = shards
        self._begin()
        lifecycle.watch_forks(self)

    def _begin(self) -> None:
        """Everything that belongs to one process."""
        # Longer than the parent class's five digits: it names the process's inbox for all others.
        self.client_prefix = uuid.uuid4().hex[:12]
        self._listeners: dict[asyncio.AbstractEventLoop, Listener] = {}
        self._parked = ParkedMessages()
        self._local = threading.local()
        self._publisher = Publisher(lambda: self._database.params(session.APPLICATION_NAME))
        self._table = MessageTable(self._publisher)
        self._stop_publisher = weakref.finalize(self, self._publisher.stop)

    def start_afresh(self) -> None:
        """In a forked child: make its own of everything.

        The inherited connections are the parent's: they are dropped, not closed. Closing would end
        its sessions. Only this process's copies of the descriptors go.
        """
        self._stop_publisher.detach()
        descriptors = [listener.descriptor for listener in self._listeners.values()]
        for descriptor in (*descriptors, *self._publisher.descriptors):
            if descriptor >= 0:
                os.close(descriptor)
        _inherited.append((self._listeners, self._publisher))
        self._begin()

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, None] | None:
        """How to close what the layer has in a loop that is about to be closed."""
        listener = self._listeners.pop(loop, None)
        return listener.close() if listener is not None else None

    # Channel layer API

    extensions = ["groups", "flush"]

    async def send(self, channel: str, message: Message) -> None:
        """Send to one channel. Raises ChannelFull, PublishError, MessageTooLarge.

        A name without "!" is durable: the message waits in a table, and whichever process reads the
        channel first takes it. A name with "!" belongs to one process, and is as transient as it.
        """
        body = self._body(message)
        self.require_valid_channel_name(channel)
        if "!" not in channel:
            await self._table.add(channel, body, self.expiry, self.get_capacity(channel))
            return
        client = _client_prefix(channel)
        if client == self.client_prefix:
            self._send_here(channel, body)
        else:
            await self._publisher.publish([Entry(self._inbox(client), channel, body)])

    async def receive(self, channel: str) -> Message:
        """The next message for the channel; waits for one.

        Several may wait on one channel; each message goes to one of them.
        """
        # Written to be quick: it runs for every message and member.
        loop = get_running_loop()
        try:
            mailbox = self._listeners[loop].channels.mailboxes[channel]
        except KeyError:
            listener = self._listener()
            mailbox = self._open_mailbox(listener, channel)
        if "!" not in channel:
            return await self._receive_named(self._listener(), mailbox, channel)
        while True:
            item = mailbox.take(loop)
            if isinstance(item, Future):
                waiter = item
                try:
                    item = await waiter
                except CancelledError:
                    mailbox.give_back(waiter)
                    raise
            if isinstance(item, Event):
                return item.message()
            if item is GAP and self.gap_type is not None:
                return {"type": self.gap_type}

    async def new_channel(self, prefix: str = "specific") -> str:
        """A channel name that only this process, and best this event loop, can receive on."""
        channel = f"{prefix}.{self.client_prefix}!{uuid.uuid4().hex}"
        listener = self._listener()
        self._open_mailbox(listener, channel)
        await self._listen(listener, self._inbox(self.client_prefix))
        return channel

    def close_channel(self, channel: str) -> None:
        """Forget a channel of this event loop at once, with its groups and what waits for it.

        Optional: a channel that nobody reads is forgotten after `expiry` seconds.
        """
        listener = self._listeners.get(asyncio.get_running_loop())
        if listener is not None:
            listener.channels.forget(channel)

    def deliver_to(self, channel: str, taker: Taker) -> None:
        """Hand what arrives for a channel of this event loop to `taker` at once.

        Optional, for a reader that is to cost no task and no wake-up for each message. What it does
        not take waits, as ever bounded, for `receive_nowait`.
        """
        listener = self._listener()
        mailbox = listener.channels.mailboxes.get(channel)
        if mailbox is None:
            mailbox = self._open_mailbox(listener, channel)
        mailbox.taker = taker
        if len(mailbox):
            taker.look()

    def receive_nowait(self, channel: str) -> Message | None:
        """The next message that waits for a channel of this event loop, or None."""
        listener = self._listener()
        mailbox = listener.channels.mailboxes.get(channel)
        item: Item | None = GAP
        while mailbox is not None and item is not None:
            item = mailbox.get_nowait(listener.loop.time)
            if isinstance(item, Event):
                return item.message()
            if item is GAP and self.gap_type is not None:
                return {"type": self.gap_type}
        return None

    async def check(self) -> None:
        """Raise ListenError unless what this process publishes arrives here; in under 20 s.

        It does not behind a pooler that gives each transaction another session.
        """
        listener = self._listener()
        await self._listen(listener, self._inbox(self.client_prefix))
        if not await listener.beats():
            raise ListenError(
                "LISTEN has no effect: is a transaction-mode pooler between here and Postgres?"
            )

    # Groups extension

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel of this process to a group; returns once LISTEN is effective.

        Raises ListenError if it is not within ten seconds, RuntimeError for another process's
        channel.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        listener = self._owner(channel)
        if listener.loop is not asyncio.get_running_loop():
            await lifecycle.run_in(listener.loop, self._group_add(listener, group, channel))
        else:
            await self._group_add(listener, group, channel)

    async def group_discard(self, group: str, channel: str, expire: int | None = None) -> None:
        """Remove a channel from a group; does nothing if it is not in it.

        `expire` is taken for channels_postgres's sake.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        listener = self._owner(channel)
        if listener.loop is not asyncio.get_running_loop():
            listener.loop.call_soon_threadsafe(listener.channels.discard_from_group, group, channel)
        else:
            listener.channels.discard_from_group(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        """Send to every channel in the group, in all processes; one statement at most.

        Raises PublishError if Postgres did not take it, ChannelFull if its queue or the process's
        backlog is full, MessageTooLarge.
        """
        await self._publisher.publish((self._group_entry(group, message),))

    async def group_send_many(self, items: Iterable[tuple[str, Message]]) -> None:
        """Send several (group, message) pairs, in order, in one statement."""
        entries = [self._group_entry(group, message) for group, message in items]
        if entries:
            await self._publisher.publish(entries)

    def group_send_sync(self, group: str, message: Message) -> None:
        """`group_send` for synchronous code, over Django's default connection.

        Must be outside a transaction: Postgres would hold the message back until the commit, and
        let no two such commits run at once. Raises TransactionManagementError inside one.
        """
        self.group_send_many_sync(((group, message),))

    def group_send_many_sync(self, items: Iterable[tuple[str, Message]]) -> None:
        """`group_send_many` for synchronous code; as `group_send_sync`."""
        entries = [self._group_entry(group, message) for group, message in items]
        if not entries:
            return
        if not self._database.is_djangos():
            self._publisher.publish_blocking(entries)
            return
        connection = connections[DEFAULT_DB_ALIAS]
        if connection.in_atomic_block or not connection.get_autocommit():
            raise TransactionManagementError(
                "Publish after the transaction: NOTIFY in one makes all such commits queue."
            )
        # Numbers must be sent in their order, and each thread has its own connection.
        stream: Stream | None = getattr(self._local, "stream", None)
        if stream is None:
            stream = self._local.stream = Stream()
        channels, payloads = stream.encode(entries)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    NOTIFY.format("%s", "%s"),
                    [
                        array_literal(channel.encode() for channel in channels).decode(),
                        array_literal(payloads).decode(),
                    ],
                )
        except DatabaseError as error:
            is_full = getattr(error.__cause__, "sqlstate", None) == session.QUEUE_FULL
            raise (NotifyQueueFull if is_full else PublishError)(str(error)) from error

    # Flush extension

    async def flush(self) -> None:
        """Empty the tables, forget this process's channels and groups, close the connections."""
        await self._table.empty()
        self._parked.clear()
        for listener in list(self._listeners.values()):
            if listener.loop is not asyncio.get_running_loop() and listener.loop.is_running():
                listener.loop.call_soon_threadsafe(listener.channels.forget_all)
        await self.close()

    async def close(self) -> None:
        """Close this event loop's connection, and the process's publishing one if no other loop
        listens. The layer can be used again afterwards, as if new."""
        listener = self._listeners.pop(asyncio.get_running_loop(), None)
        if listener is not None:
            await listener.close()
        if not self._listeners:
            await asyncio.to_thread(self._publisher.stop, wait=True)

    # The parts

    def _listener(self) -> Listener:
        loop = asyncio.get_running_loop()
        listener = self._listeners.get(loop)
        if listener is None:
            for other in list(self._listeners):
                if other.is_closed():
                    self._listeners.pop(other).abandon()
            inbox = self._inbox(self.client_prefix)
            listener = self._listeners[loop] = Listener(
                LocalChannels(
                    loop=loop,
                    inbox=inbox,
                    wake_channel=TABLE_CHANNEL,
                    deserialize=self.deserialize,
                    expiry=lambda: self.expiry,
                    group_expiry=self.group_expiry,
                    heartbeat=self.heartbeat,
                    signals_gaps=self.gap_type is not None,
                ),
                params=lambda: self._database.params(listening.APPLICATION_NAME),
                publisher=self._publisher,
                inbox=inbox,
                heartbeat=self.heartbeat,
            )
            lifecycle.close_with(loop, self)
        return listener

    def _owner(self, channel: str) -> Listener:
        """The listener that has the channel, which may be another event loop's."""
        here = self._listener()
        if channel in here.channels.mailboxes:
            return here
        for listener in list(self._listeners.values()):
            if channel in listener.channels.mailboxes and not listener.loop.is_closed():
                return listener
        if "!" in channel and _client_prefix(channel) != self.client_prefix:
            raise RuntimeError(f"{channel} belongs to another process, which must group it itself")
        return here

    async def _group_add(self, listener: Listener, group: str, channel: str) -> None:
        mailbox = listener.channels.mailboxes.get(channel)
        if mailbox is None:
            mailbox = self._open_mailbox(listener, channel)
        was_member = group in mailbox.groups
        listener.channels.add_to_group(group, channel, mailbox)
        shard = self._shard(group)
        if listener.is_listening(shard):
            return
        try:
            await self._listen(listener, shard)
        except BaseException:
            if not was_member:
                listener.channels.discard_from_group(group, channel)
            raise

    async def _listen(self, listener: Listener, pg_channel: str) -> None:
        if not listener.is_listening(pg_channel):
            await listener.listen(pg_channel)

    def _open_mailbox(self, listener: Listener, channel: str) -> Mailbox:
        self.require_valid_channel_name(channel)
        if "!" in channel:
            assert _client_prefix(channel) == self.client_prefix, "Wrong client prefix"
        mailbox = Mailbox(self.get_capacity(channel))
        listener.channels.mailboxes[channel] = mailbox
        for body in self._parked.take(channel):
            listener.channels.deliver(channel, body)
        return mailbox

    def _send_here(self, channel: str, body: bytes) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for listener in list(self._listeners.values()):
            if channel in listener.channels.mailboxes and not listener.loop.is_closed():
                if listener.loop is not running:
                    listener.loop.call_soon_threadsafe(listener.channels.deliver, channel, body)
                elif not listener.channels.deliver(channel, body):
                    raise ChannelFull(channel)
                return
        if not self._parked.put(channel, body, self.get_capacity(channel), self.expiry):
            raise ChannelFull(channel)

    async def _receive_named(self, listener: Listener, mailbox: Mailbox, channel: str) -> Message:
        await self._listen(listener, TABLE_CHANNEL)
        while True:
            item: Item | Future[Item] | None = mailbox.get_nowait(listener.loop.time)
            if item is None:
                taking = asyncio.ensure_future(self._table.take(channel))
                try:
                    body = await asyncio.shield(taking)
                except CancelledError:
                    # It may be ours already; the next reader here gets it.
                    taking.add_done_callback(lambda taken: _keep(taken, listener, channel))
                    raise
                if body is not None:
                    message: Message = self.deserialize(body)
                    return message
                item = mailbox.take(listener.loop)
            if isinstance(item, Future):
                waiter = item
                try:
                    item = await waiter
                except CancelledError:
                    mailbox.give_back(waiter)
                    raise
            if isinstance(item, Event):
                return item.message()
            if item is GAP and self.gap_type is not None:
                return {"type": self.gap_type}

    def _body(self, message: Message) -> bytes:
        assert isinstance(message, dict), "message is not a dict"
        assert "__asgi_channel__" not in message
        body: bytes = self.serialize(message)
        check_size(body)
        return body

    def _group_entry(self, group: str, message: Message) -> Entry:
        self.require_valid_group_name(group)
        return Entry(self._shard(group), group, self._body(message))

    def _shard(self, group: str) -> str:
        # crc32 and not hash(): all processes must agree.
        return pg_channel_name(
            self.prefix, "group", str(zlib.crc32(group.encode()) % self._shard_count)
        )

    def _inbox(self, client_prefix: str) -> str:
        return pg_channel_name(self.prefix, "inbox", client_prefix)


def _client_prefix(channel: str) -> str:
    """The process that a channel name with "!" belongs to."""
    return channel.partition("!")[0].rpartition(".")[2]


def _keep(taken: asyncio.Future[bytes | None], listener: Listener, channel: str) -> None:
    if taken.cancelled() or taken.exception() is not None:
        return
    body = taken.result()
    if body is not None:
        listener.channels.deliver(channel, body)
