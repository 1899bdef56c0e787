"""The layer: what Channels calls, carried out by its part in the running event loop."""

import asyncio
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import structlog
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import decode_hosts

from channels_pgnotify import lifecycle
from channels_pgnotify.codec import check_size
from channels_pgnotify.mailbox import GAP, Event, Item, Taker
from core.redis_layer.host import Host
from core.redis_layer.host import Message as Published
from core.redis_layer.loop_part import ADDRESSEE, LoopPart
from core.redis_layer.publisher import Publisher

logger = structlog.get_logger(__name__)

Message = dict[str, Any]


class RedisChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """channels_redis's pub/sub layer with what `channels_pgnotify`'s promises.

    Takes its `hosts`, `prefix`, `serializer_format` and `symmetric_encryption_keys`, names Redis
    channels as it does, and spreads groups over several hosts as it does; and:

    - `group_send_many`, `group_send_many_sync`: a batch is one round trip to each host;
    - `gap_type`: when messages may have been missed, every local channel gets
      `{"type": gap_type}`; None for no such message;
    - `capacity`: how many messages may wait for one channel; `expiry`: for how many seconds;
    - `heartbeat`: seconds between checks that the subscribed connection is alive;
    - `group_add` returns once the subscription is effective.

    What a process could not publish it says as soon as it can, and whoever is in those groups has
    a gap. Messages are transient, also those to channels without "!".
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        hosts: Sequence[Any] | None = None,
        prefix: str = "asgi",
        *,
        expiry: float = 60,
        capacity: int = 100,
        gap_type: str | None = None,
        heartbeat: float = 5.0,
        symmetric_encryption_keys: Sequence[str | bytes] | None = None,
        serializer_format: str = "msgpack",
    ) -> None:
        super().__init__(
            symmetric_encryption_keys=symmetric_encryption_keys,
            serializer_format=serializer_format,
        )
        self.prefix = prefix
        self.expiry = expiry
        self.capacity = capacity
        self.gap_type = gap_type
        self.heartbeat = heartbeat
        # Where it is said which groups lack something, on each host.
        self.missed_key = f"{prefix}__missed__"
        self._entries = decode_hosts(hosts)
        self._begin()
        lifecycle.watch_forks(self)

    def __getattr__(self, name: str) -> Any:
        # The parent's looks in the running event loop, and raises where there is none.
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def _begin(self) -> None:
        """Everything that belongs to one process."""
        self.client_prefix = uuid.uuid4().hex[:12]
        self.hosts = [Host(entry) for entry in self._entries]
        self._publisher = Publisher(self.hosts, self.missed_key, self.serialize)
        self._layers: dict[asyncio.AbstractEventLoop, LoopPart] = {}

    def start_afresh(self) -> None:
        """In a forked child: make its own of everything. The parent's connections stay its own."""
        _inherited.append((self._layers, self._publisher))
        self._begin()

    def leave_loop(self, loop: asyncio.AbstractEventLoop) -> Coroutine[Any, Any, None] | None:
        """How to close what the layer has in a loop that is about to be closed."""
        part = self._layers.pop(loop, None)
        return part.close() if part is not None else None

    # --- Channel layer API -------------------------------------------------------------------

    async def send(self, channel: str, message: Message) -> None:
        """Send to one channel. Raises ChannelFull, PublishError, MessageTooLarge."""
        key = channel
        if "!" in channel:
            client = _client_prefix(channel)
            if client == self.client_prefix and self._here().deliver(channel, self._body(message)):
                return
            key, message = self._inbox(client), {**message, ADDRESSEE: channel}
        await self._publish([(key, self._body(message))])

    async def receive(self, channel: str) -> Message:
        """The next message for the channel; waits for one."""
        part = self._here()
        mailbox = part.mailboxes.get(channel) or part.open(channel)
        if "!" not in channel:
            await part.join(channel, channel)
        while True:
            item = mailbox.take(part.loop)
            if isinstance(item, asyncio.Future):
                waiter = item
                try:
                    item = await waiter
                except asyncio.CancelledError:
                    mailbox.give_back(waiter)
                    raise
            if isinstance(item, Event):
                return item.message()
            if item is GAP and self.gap_type is not None:
                return {"type": self.gap_type}

    async def new_channel(self, prefix: str = "specific") -> str:
        """A channel name that only this event loop can receive on."""
        channel = f"{prefix}.{self.client_prefix}!{uuid.uuid4().hex}"
        part = self._here()
        part.open(channel)
        await part.subscribe(self._inbox(self.client_prefix), patient=False)
        return channel

    def close_channel(self, channel: str) -> None:
        """Forget a channel of this event loop at once, with its groups and what waits for it."""
        part = self._layers.get(asyncio.get_running_loop())
        if part is not None:
            part.forget(channel)

    def deliver_to(self, channel: str, taker: Taker) -> None:
        """Hand what arrives for a channel of this event loop to `taker` at once.

        What it does not take waits, as ever bounded, for `receive_nowait`.
        """
        part = self._here()
        mailbox = part.mailboxes.get(channel) or part.open(channel)
        mailbox.taker = taker
        if len(mailbox):
            taker.look()

    def receive_nowait(self, channel: str) -> Message | None:
        """The next message that waits for a channel of this event loop, or None."""
        part = self._here()
        mailbox = part.mailboxes.get(channel)
        item: Item | None = GAP
        while mailbox is not None and item is not None:
            item = mailbox.get_nowait(part.loop.time)
            if isinstance(item, Event):
                return item.message()
            if item is GAP and self.gap_type is not None:
                return {"type": self.gap_type}
        return None

    # --- Groups extension --------------------------------------------------------------------

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel of this event loop to a group; what is sent from then on arrives.

        Raises ListenError if there is no subscription within ten seconds, RuntimeError for another
        process's channel.
        """
        part = self._here()
        if channel not in part.mailboxes:
            if "!" in channel and _client_prefix(channel) != self.client_prefix:
                raise RuntimeError(f"{channel} belongs to another process, which must group it")
            part.open(channel)
        await part.join(self._group_key(group), channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group; does nothing if it is not in it."""
        self._here().leave(self._group_key(group), channel)

    async def group_send(self, group: str, message: Message) -> None:
        """Send to every channel in the group, in all processes. Raises PublishError."""
        await self.group_send_many([(group, message)])

    async def group_send_many(self, items: Iterable[tuple[str, Message]]) -> None:
        """Send several (group, message) pairs, in order, in one round trip to each host.

        Raises PublishError if a host did not take all that is its own; it is not sent again.
        """
        await self._publish([(self._group_key(group), self._body(sent)) for group, sent in items])

    def group_send_sync(self, group: str, message: Message) -> None:
        """`group_send` for synchronous code, without an event loop."""
        self.group_send_many_sync([(group, message)])

    def group_send_many_sync(self, items: Iterable[tuple[str, Message]]) -> None:
        """`group_send_many` for synchronous code, without an event loop."""
        self._publisher.publish_sync(
            [(self._group_key(group), self._body(sent)) for group, sent in items]
        )

    # --- Flush extension, and ours -----------------------------------------------------------

    async def flush(self) -> None:
        """Forget this event loop's channels and groups and close its connections."""
        await self.close()

    async def close(self) -> None:
        """Close this event loop's connections, and the threads' if no other loop listens.

        The layer can be used again afterwards, as if new.
        """
        part = self._layers.pop(asyncio.get_running_loop(), None)
        if part is not None:
            await part.close()
        if not self._layers:
            await self._publisher.close()

    async def check(self) -> None:
        """Raise LayerError unless what is published to each host, from a thread and from the loop,
        arrives here; within some seconds."""
        part = self._here()
        for index in range(len(self.hosts)):
            await part.check(index)

    # --- The parts ---------------------------------------------------------------------------

    def _here(self) -> LoopPart:
        loop = asyncio.get_running_loop()
        part = self._layers.get(loop)
        if part is None:
            for other in [other for other in self._layers if other.is_closed()]:
                del self._layers[other]
            part = self._layers[loop] = LoopPart(self, loop, self._inbox(self.client_prefix))
            lifecycle.close_with(loop, self)
        return part

    async def _publish(self, messages: list[Published]) -> None:
        await self._publisher.publish(messages, self._here().publish)

    def index_of(self, key: str) -> int:
        """Which host has a Redis channel."""
        return self._publisher.index_of(key)

    def _body(self, message: Message) -> bytes:
        body: bytes = self.serialize(message)
        check_size(body)
        return body

    def _group_key(self, group: str) -> str:
        # As channels_redis names it, so that its own publishers are heard, too.
        return f"{self.prefix}__group__{group}"

    def _inbox(self, client_prefix: str) -> str:
        return f"{self.prefix}__inbox__{client_prefix}"


# After a fork the child keeps its parent's connections from being closed by forgetting them here.
_inherited: list[Any] = []


def _client_prefix(channel: str) -> str:
    """The process that a channel name with "!" belongs to."""
    return channel.partition("!")[0].rpartition(".")[2]
