"""The channels of one event loop, their groups, and what arrives for them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

import msgpack

from .codec import BATCH, FRAGMENT, MAX_MESSAGE_SIZE, TIP, decode
from .mailbox import Event, Mailbox, Message

logger = logging.getLogger(__name__)

# How many heartbeats a publisher's stream is remembered after its last notification.
STREAM_TICKS = 60


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


class LocalChannels:
    """Belongs to one event loop; nothing here may be called from another thread."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
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
        self._inbox_key = inbox.encode()
        self._wake_key = wake_channel.encode()
        self._deserialize = deserialize
        self._expiry = expiry
        self._group_expiry = group_expiry or 86_400.0
        self._heartbeat = heartbeat
        self._signals_gaps = signals_gaps
        self._streams: dict[tuple[int, bytes], _Received] = {}
        self._assembly: _Assembly | None = None
        self._tick = 0
        self.beat_name = f"\0{secrets.token_hex(8)}"
        self.beats: list[asyncio.Future[None]] = []

    # Channels and groups

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

    def forget_all(self) -> None:
        for channel in list(self.mailboxes):
            self.forget(channel)

    def forget_everything(self) -> None:
        """Drop every channel and group, and how far any publisher has come."""
        self.mailboxes.clear()
        self.groups.clear()
        self._streams.clear()

    def sweep(self) -> None:
        """At each heartbeat: forget publishers long silent and channels long unread."""
        self._tick += 1
        for key in [k for k, r in self._streams.items() if self._tick - r.tick > STREAM_TICKS]:
            del self._streams[key]
        for channel, mailbox in list(self.mailboxes.items()):
            in_use = mailbox.read or mailbox.awaited or mailbox.taker is not None
            mailbox.idle_ticks = 0 if in_use else mailbox.idle_ticks + 1
            mailbox.read = False
            life = self._group_expiry if mailbox.groups else self._expiry()
            if mailbox.idle_ticks * self._heartbeat > life:
                self.forget(channel)

    def interrupted(self) -> None:
        """Numbers may be missing from here on, and every channel will have been told so."""
        self._assembly = None
        for received in self._streams.values():
            received.stale = True

    # What arrives

    def notified(self, pg_channel: bytes, payload: bytes) -> None:
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
                elif items[index] == self.beat_name:
                    for beat in self.beats:
                        if not beat.done():
                            beat.set_result(None)
                    self.beats.clear()
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
        # A copy: whoever takes a message may leave the group at once.
        for mailbox in list(members.values()):
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
