"""What the layer has in one event loop: its channels, their groups, its connections."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from channels.exceptions import ChannelFull

from channels_pgnotify.errors import ListenError
from channels_pgnotify.mailbox import Event, Mailbox
from core.redis_layer.host import LoopPublisher
from core.redis_layer.host import Message as Published
from core.redis_layer.subscription import Subscription

if TYPE_CHECKING:
    from core.redis_layer.layer import RedisChannelLayer

logger = structlog.get_logger(__name__)

# Seconds that what `check` publishes may take to arrive.
CHECK_SECONDS = 5.0
# A channel in groups that nobody reads is forgotten after a day.
GROUP_EXPIRY = 86_400.0
# Under which key a message to another process says its channel.
ADDRESSEE = "__asgi_channel__"


class LoopPart:
    """The channels of one event loop, their groups, and its connections."""

    def __init__(
        self, layer: "RedisChannelLayer", loop: asyncio.AbstractEventLoop, inbox: str
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
        mailbox = self.mailboxes.get(message.pop(ADDRESSEE))
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
