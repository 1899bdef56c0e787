"""The layer: local channels and groups, and which host a group is on."""

import asyncio
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import structlog
from channels.exceptions import ChannelFull
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import _consistent_hash, decode_hosts

from channels_pgnotify import lifecycle
from channels_pgnotify.codec import check_size
from channels_pgnotify.errors import ListenError, PublishError
from channels_pgnotify.mailbox import GAP, Event, Item, Mailbox, Taker
from core.redis_layer.host import Host, LoopPublisher
from core.redis_layer.host import Message as Published
from core.redis_layer.missed import Missed
from core.redis_layer.subscription import Subscription

logger = structlog.get_logger(__name__)

Message = dict[str, Any]

# Seconds that what `check` publishes may take to arrive.
CHECK_SECONDS = 5.0
# A channel in groups that nobody reads is forgotten after a day.
GROUP_EXPIRY = 86_400.0
_ADDRESSEE = "__asgi_channel__"


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
        self._missed = [Missed(host, self.missed_key, self.serialize) for host in self.hosts]
        self._layers: dict[asyncio.AbstractEventLoop, _LoopPart] = {}

    def start_afresh(self) -> None:
        """In a forked child: make its own of everything. The parent's connections stay its own."""
        _inherited.append((self._layers, self.hosts, self._missed))
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
            key, message = self._inbox(client), {**message, _ADDRESSEE: channel}
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
        published = [(self._group_key(group), self._body(sent)) for group, sent in items]
        failed = None
        for index, messages in self._by_host(published).items():
            missed = self._missed[index]
            if missed.away:
                failed = missed.refuse(key for key, _ in messages)
                continue
            try:
                self.hosts[index].publish(messages)
            except PublishError as error:
                # Raised below: the other hosts get theirs.
                missed.note(key for key, _ in messages)
                failed = error
        if failed is not None:
            raise failed

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
            for host, missed in zip(self.hosts, self._missed, strict=True):
                await asyncio.to_thread(missed.stop)
                await asyncio.to_thread(host.close)

    async def check(self) -> None:
        """Raise LayerError unless what is published to each host, from a thread and from the loop,
        arrives here; within some seconds."""
        part = self._here()
        for index in range(len(self.hosts)):
            await part.check(index)

    # --- The parts ---------------------------------------------------------------------------

    def _here(self) -> "_LoopPart":
        loop = asyncio.get_running_loop()
        part = self._layers.get(loop)
        if part is None:
            for other in [other for other in self._layers if other.is_closed()]:
                del self._layers[other]
            part = self._layers[loop] = _LoopPart(self, loop, self._inbox(self.client_prefix))
            lifecycle.close_with(loop, self)
        return part

    async def _publish(self, messages: list[Published]) -> None:
        part = self._here()
        failed: BaseException | None = None
        shares = self._by_host(messages)
        for index in [index for index in shares if self._missed[index].away]:
            failed = self._missed[index].refuse(key for key, _ in shares.pop(index))
        outcomes = await asyncio.gather(
            *(part.publish(index, own) for index, own in shares.items()), return_exceptions=True
        )
        for (index, own), outcome in zip(shares.items(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._missed[index].note(key for key, _ in own)
                failed = outcome
        if failed is not None:
            raise failed

    def _by_host(self, messages: Iterable[Published]) -> dict[int, list[Published]]:
        """Each host's own, in order."""
        shared: dict[int, list[Published]] = {}
        for message in messages:
            shared.setdefault(self.index_of(message[0]), []).append(message)
        return shared

    def index_of(self, key: str) -> int:
        """Which host has a Redis channel."""
        index: int = _consistent_hash(key, len(self.hosts))
        return index

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


class _LoopPart:
    """The channels of one event loop, their groups, and its connections."""

    def __init__(
        self, layer: RedisChannelLayer, loop: asyncio.AbstractEventLoop, inbox: str
    ) -> None:
        self.loop = loop
        self.mailboxes: dict[str, Mailbox] = {}
        # By Redis channel, as it arrives.
        self._members: dict[bytes, dict[str, Mailbox]] = {}
        self._probes: dict[bytes, asyncio.Event] = {}
        self._layer = layer
        self._inbox = inbox.encode()
        self._missed = layer.missed_key.encode()
        # When every channel was last told that it may have missed something.
        self._gap_at = 0.0
        self._publishers = [LoopPublisher(host) for host in layer.hosts]
        self._subscriptions = [
            Subscription(
                host,
                heartbeat=layer.heartbeat,
                arrived=self._arrived,
                missed=self._signal_gap,
                # Once is enough for all hosts.
                beat=self._sweep if index == layer.index_of(inbox) else lambda: None,
            )
            for index, host in enumerate(layer.hosts)
        ]

    # Channels and groups

    def open(self, channel: str) -> Mailbox:
        mailbox = self.mailboxes[channel] = Mailbox(self._layer.capacity)
        return mailbox

    def forget(self, channel: str) -> None:
        """Drop a channel, its groups and what waits for it."""
        mailbox = self.mailboxes.pop(channel, None)
        if mailbox is not None:
            for key in list(mailbox.groups):
                self.leave(key, channel)

    async def join(self, key: str, channel: str) -> None:
        """Have a channel get what is published to a Redis channel. Raises ListenError."""
        mailbox = self.mailboxes[channel]
        was_member = key in mailbox.groups
        self._members.setdefault(key.encode(), {})[channel] = mailbox
        mailbox.groups.add(key)
        try:
            await self.subscribe(key)
        except BaseException:
            if not was_member:
                self.leave(key, channel)
            raise

    def leave(self, key: str, channel: str) -> None:
        name = key.encode()
        members = self._members.get(name)
        if members is None:
            return
        mailbox = members.pop(channel, None)
        if mailbox is not None:
            mailbox.groups.discard(key)
        if not members:
            del self._members[name]
            self._subscriptions[self._layer.index_of(key)].unsubscribe(name)

    async def subscribe(self, key: str, *, patient: bool = True) -> None:
        subscription = self._subscriptions[self._layer.index_of(key)]
        for channel in (self._missed, key.encode()):
            await subscription.subscribe(channel, patient=patient)

    async def publish(self, index: int, messages: Sequence[Published]) -> None:
        await self._publishers[index].publish(messages)

    def deliver(self, channel: str, body: bytes) -> bool:
        """Put a message into a channel of this loop; False if it has no such channel."""
        mailbox = self.mailboxes.get(channel)
        if mailbox is None:
            return False
        if mailbox.full and not mailbox.awaited:
            raise ChannelFull(channel)
        mailbox.put(self._event(body))
        return True

    async def check(self, index: int) -> None:
        """Raise LayerError unless what is published to that host arrives here, both ways."""
        host, subscription = self._layer.hosts[index], self._subscriptions[index]
        key = f"{self._layer.prefix}__check__{uuid.uuid4().hex}"
        # A server that cannot be reached says so at once here; subscribing is tried for longer.
        await asyncio.to_thread(host.publish, [(key, b"")])
        await subscription.subscribe(key.encode())
        try:
            for send in (self._publishers[index].publish, _in_thread(host.publish)):
                heard = self._probes[key.encode()] = asyncio.Event()
                await send([(key, b"")])
                try:
                    async with asyncio.timeout(CHECK_SECONDS):
                        await heard.wait()
                except TimeoutError:
                    raise ListenError(
                        f"{host.name}: what is published does not arrive within {CHECK_SECONDS:g} s"
                    ) from None
        finally:
            self._probes.pop(key.encode(), None)
            subscription.unsubscribe(key.encode())

    async def close(self) -> None:
        for channel in list(self.mailboxes):
            self.forget(channel)
        for subscription in self._subscriptions:
            await subscription.close()
        for publisher in self._publishers:
            await publisher.close()

    # What arrives

    def _event(self, body: bytes) -> Event:
        return Event(body, self._layer.deserialize, self.loop.time() + self._layer.expiry)

    def _arrived(self, name: bytes, body: bytes) -> None:
        try:
            if name == self._inbox:
                self._inbox_arrived(body)
                return
            if name == self._missed:
                self._missed_elsewhere(body)
                return
            members = self._members.get(name)
            if members is None:
                if name in self._probes:
                    self._probes[name].set()
                return
            event = self._event(body)
        except Exception as error:  # noqa: BLE001
            # Whatever a serializer raises (a key that differs, say), the others must get theirs.
            logger.error("layer_message_unreadable", error=type(error).__name__)
            self._signal_gap()
            return
        lagging = 0
        # A copy: whoever takes a message may leave the group at once.
        for mailbox in list(members.values()):
            lagging += not mailbox.put(event)
        if lagging:
            logger.info("layer_channels_over_capacity", channels=lagging, members=len(members))

    def _inbox_arrived(self, body: bytes) -> None:
        message = self._layer.deserialize(body)
        mailbox = self.mailboxes.get(message.pop(_ADDRESSEE))
        if mailbox is not None and not mailbox.put(self._event(self._layer.serialize(message))):
            logger.info("layer_channels_over_capacity", channels=1, members=1)

    def _missed_elsewhere(self, body: bytes) -> None:
        """Another process could not publish to some groups."""
        told = self._layer.deserialize(body)
        # Whoever reads afresh since has what failed before.
        if self._layer.gap_type is None or self._gap_at > self.loop.time() - told["ago"]:
            return
        concerned = {
            channel: mailbox
            for key in told["keys"]
            for channel, mailbox in self._members.get(key.encode(), {}).items()
        }
        for mailbox in concerned.values():
            mailbox.put_gap()

    def _signal_gap(self) -> None:
        """Tell every channel of this loop that it may have missed something."""
        self._gap_at = self.loop.time()
        if self._layer.gap_type is not None:
            for mailbox in self.mailboxes.values():
                mailbox.put_gap()

    def _sweep(self) -> None:
        """Forget the channels that nobody has read for long."""
        for channel, mailbox in list(self.mailboxes.items()):
            in_use = mailbox.read or mailbox.awaited or mailbox.taker is not None
            mailbox.idle_ticks = 0 if in_use else mailbox.idle_ticks + 1
            mailbox.read = False
            life = GROUP_EXPIRY if mailbox.groups else self._layer.expiry
            if mailbox.idle_ticks * self._layer.heartbeat > life:
                self.forget(channel)


def _in_thread(publish: Any) -> Any:
    return lambda messages: asyncio.to_thread(publish, messages)
