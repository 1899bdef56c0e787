"""What travels inside a NOTIFY.

A notification's payload is the base64 of one msgpack array. Base64 makes it safe in every database
encoding and in a Postgres array literal without quoting. Its first three items are the publishing
stream's id, that stream's sequence number on this Postgres channel, and the kind; then:

- BATCH: name, body, name, body, … (a name is a group's or a channel's, a body is a whole message);
- FRAGMENT: name, index, count, chunk (one message over several consecutive notifications);
- TIP: nothing; it repeats the last sequence number, so that a loss at the end is noticed too.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from .errors import MessageTooLarge

BATCH, FRAGMENT, TIP = 0, 1, 2

# Postgres refuses a payload of 8,000 bytes (NOTIFY_PAYLOAD_MAX_LENGTH, backend/commands/async.c)
# and base64 turns 3 bytes into 4, so this is the most that fits.
RAW_LIMIT = 7_999 // 4 * 3
# msgpack's own bytes: the array's header, the stream's id, the number and the kind.
HEADER_SIZE = 5 + 9 + 9 + 1
# msgpack's own bytes around one name and one body.
ENTRY_SIZE = 3 + 5
# Channels asks for at least 1 MB.
MAX_MESSAGE_SIZE = 2**20 + 4096


class Entry(NamedTuple):
    """One message on its way: the Postgres channel, the group's or channel's name, the bytes."""

    pg_channel: str
    name: str
    body: bytes


@functools.lru_cache(maxsize=65_536)
def pg_channel_name(*parts: str) -> str:
    """A Postgres channel name for any parts: lower-case, fixed length, under the 63-byte limit."""
    digest = hashlib.blake2s("\0".join(parts).encode(), digest_size=16)
    return f"chatire_{digest.hexdigest()}"


def check_size(body: bytes) -> None:
    """Raise MessageTooLarge for a serialized message over MAX_MESSAGE_SIZE bytes."""
    if len(body) > MAX_MESSAGE_SIZE:
        raise MessageTooLarge(
            f"a message of {len(body):,} bytes is over the layer's limit of {MAX_MESSAGE_SIZE:,}"
        )


class Stream:
    """One publisher's numbered notifications.

    Whoever uses it must send what it encodes in the order it was encoded, so it belongs to one
    thread.
    """

    def __init__(self) -> None:
        self.id = secrets.randbits(63)
        self._last: dict[str, int] = {}

    def encode(self, entries: Iterable[Entry]) -> tuple[list[str], list[bytes]]:
        """Postgres channels and payloads, pairwise, that carry the entries in their order."""
        channels: list[str] = []
        payloads: list[bytes] = []
        open_batches: dict[str, list[Any]] = {}
        sizes: dict[str, int] = {}

        def finish(pg_channel: str, items: list[Any]) -> None:
            number = self._last.get(pg_channel, 0) + 1
            self._last[pg_channel] = number
            items[1] = number
            channels.append(pg_channel)
            payloads.append(_pack(items))

        for pg_channel, name, body in entries:
            size = len(name) + len(body) + ENTRY_SIZE
            batch = open_batches.get(pg_channel)
            if batch is not None and sizes[pg_channel] + size <= RAW_LIMIT:
                batch.append(name)
                batch.append(body)
                sizes[pg_channel] += size
                continue
            if batch is not None:
                finish(pg_channel, open_batches.pop(pg_channel))
            if HEADER_SIZE + size <= RAW_LIMIT:
                open_batches[pg_channel] = [self.id, 0, BATCH, name, body]
                sizes[pg_channel] = HEADER_SIZE + size
                continue
            room = RAW_LIMIT - HEADER_SIZE - ENTRY_SIZE - len(name) - 10
            count = -(-len(body) // room)
            for index in range(count):
                chunk = body[index * room : (index + 1) * room]
                finish(pg_channel, [self.id, 0, FRAGMENT, name, index, count, chunk])
        for pg_channel, batch in open_batches.items():
            finish(pg_channel, batch)
        return channels, payloads

    def tips(self, pg_channels: Iterable[str]) -> tuple[list[str], list[bytes]]:
        """Channels and payloads that repeat where the stream stands on each of the channels."""
        channels = [channel for channel in pg_channels if channel in self._last]
        payloads = [_pack([self.id, self._last[channel], TIP]) for channel in channels]
        return channels, payloads


def _pack(items: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(items)
    return binascii.b2a_base64(packed, newline=False)


def decode(payload: bytes) -> list[Any]:
    """The items of a payload. Raises ValueError for what no Stream made."""
    items = msgpack.unpackb(binascii.a2b_base64(payload))
    if not (isinstance(items, list) and len(items) >= 3):
        raise ValueError("not an envelope of this layer")
    return items


def array_literal(items: Iterable[bytes]) -> bytes:
    """A Postgres text[] literal; the items must need no quoting, as base64 and our names do."""
    return b"{" + b",".join(items) + b"}"
