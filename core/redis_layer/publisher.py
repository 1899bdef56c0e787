"""Publishing to several hosts: which one has a Redis channel, and what a host did not take."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from channels_redis.utils import _consistent_hash

from channels_pgnotify.errors import PublishError
from core.redis_layer.host import Host, Message
from core.redis_layer.missed import Missed


class Publisher:
    """Publishes to each host its own, and says later for which groups that failed."""

    def __init__(
        self,
        hosts: Sequence[Host],
        missed_key: str,
        serialize: Callable[[dict[str, Any]], bytes],
    ) -> None:
        self._hosts = hosts
        self._missed = [Missed(host, missed_key, serialize) for host in hosts]

    def index_of(self, key: str) -> int:
        """Which host has a Redis channel."""
        index: int = _consistent_hash(key, len(self._hosts))
        return index

    def publish_sync(self, published: Iterable[Message]) -> None:
        """Publish from a thread. Raises PublishError if a host did not take all of its own."""
        failed = None
        for index, messages in self._by_host(published).items():
            missed = self._missed[index]
            if missed.away:
                failed = missed.refuse(key for key, _ in messages)
                continue
            try:
                self._hosts[index].publish(messages)
            except PublishError as error:
                # Raised below: the other hosts get theirs.
                missed.note(key for key, _ in messages)
                failed = error
        if failed is not None:
            raise failed

    async def publish(
        self,
        published: Iterable[Message],
        publish_to: Callable[[int, Sequence[Message]], Awaitable[None]],
    ) -> None:
        """Publish from an event loop, by its own connection to the host of that index."""
        failed: BaseException | None = None
        shares = self._by_host(published)
        for index in [index for index in shares if self._missed[index].away]:
            failed = self._missed[index].refuse(key for key, _ in shares.pop(index))
        outcomes = await asyncio.gather(
            *(publish_to(index, own) for index, own in shares.items()), return_exceptions=True
        )
        for (index, own), outcome in zip(shares.items(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._missed[index].note(key for key, _ in own)
                failed = outcome
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """Close the threads' connections, whatever is left to tell."""
        for host, missed in zip(self._hosts, self._missed, strict=True):
            await asyncio.to_thread(missed.stop)
            await asyncio.to_thread(host.close)

    def _by_host(self, messages: Iterable[Message]) -> dict[int, list[Message]]:
        """Each host's own, in order."""
        shared: dict[int, list[Message]] = {}
        for message in messages:
            shared.setdefault(self.index_of(message[0]), []).append(message)
        return shared
