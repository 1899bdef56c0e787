"""Durable named channels: the message table of channels_postgres, read as a queue."""

from __future__ import annotations

from channels.exceptions import ChannelFull
from channels_postgres.db import GROUP_CHANNEL_TABLE, MESSAGE_TABLE

from .publisher import Publisher
from .session import Row

# What channels_postgres's trigger notifies when a row enters its message table.
TABLE_CHANNEL = "channels_postgres_messages"

# The capacity is best effort, as everywhere: two senders may see the last free place at once.
ADD = f"""
INSERT INTO {MESSAGE_TABLE} (channel, message, expire)
SELECT $1::text, decode($2, 'hex'), now() + $3::float8 * interval '1 second'
WHERE (SELECT count(*) FROM (SELECT 1 FROM {MESSAGE_TABLE}
       WHERE channel = $1::text AND expire > now() LIMIT $4::int) AS waiting) < $4::int
RETURNING id"""  # noqa: S608
TAKE = f"""
DELETE FROM {MESSAGE_TABLE} WHERE id = (
    SELECT id FROM {MESSAGE_TABLE} WHERE channel = $1::text AND expire > now()
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING encode(message, 'hex')"""  # noqa: S608
DELETE_EXPIRED = f"DELETE FROM {MESSAGE_TABLE} WHERE expire < now()"  # noqa: S608
EMPTY = f"TRUNCATE TABLE {MESSAGE_TABLE}, {GROUP_CHANNEL_TABLE}"
# One in so many sends also clears what expired.
SENDS_PER_CLEANING = 100


class MessageTable:
    """The rows that wait for named channels; any process may take one, and each goes to one."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._sends = 0

    async def add(self, channel: str, body: bytes, expiry: float, capacity: int) -> None:
        """Keep a message for `expiry` seconds. Raises ChannelFull if `capacity` wait already."""
        params = [channel, body.hex(), str(expiry), str(capacity)]
        rows = await self._publisher.execute(ADD, [param.encode() for param in params])
        if not rows:
            raise ChannelFull(channel)
        self._sends += 1
        if self._sends % SENDS_PER_CLEANING == 0:
            await self._publisher.execute(DELETE_EXPIRED)

    async def take(self, channel: str) -> bytes | None:
        """The oldest message for the channel, which then waits no more; None if there is none."""
        rows: list[Row] = await self._publisher.execute(TAKE, [channel.encode()])
        return bytes.fromhex((rows[0][0] or b"").decode()) if rows else None

    async def empty(self) -> None:
        """Delete every message, and what channels_postgres may have stored of groups."""
        await self._publisher.execute(EMPTY)
