"""What people do now: who types. In memory, exchanged by the `ws` processes, never stored.

Each process says what its own people did in one message a second at most, whatever they do.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from channels_pgnotify.errors import LayerError
from chat.socket.clock import clock
from chat.socket.pending_touches import Socket
from chat.socket.typists import Typists
from core.publishing import publish_now_async, to_rosters

logger = structlog.get_logger(__name__)

_INTERVAL: Final = 1.0  # seconds between two messages of this process


class Here(Protocol):
    """Who is in this process."""

    def has(self, conversation: str) -> bool:
        """Say whether anybody here is in a conversation."""

    def sockets_of(self, user_id: UUID) -> Collection[Socket]:
        """Return the sockets that a person has here."""

    def push(self, conversation: str, message: dict[str, Any]) -> None:
        """Pass a frame to everyone here who is in a conversation and follows it."""


class Live:
    """What is known of this moment, and what is to be told of it."""

    # The clock looks at every tick, while there is something to do.
    due = 0.0

    def __init__(self, here: Here) -> None:
        self._here = here
        self._typists = Typists()
        self._said_at = -_INTERVAL
        self._saying: asyncio.Task[None] | None = None

    def opened(self, user_id: UUID) -> None:
        """Somebody has another socket here."""

    def closed(self, user_id: UUID, socket: Socket) -> None:
        """Somebody's socket is gone."""
        self._typists.closed(socket)
        self._soon()

    def typed(self, socket: object, user_id: UUID, conversation: str, *, active: bool) -> None:
        """Somebody types in a conversation, or no longer; its followers will hear of it."""
        self._typists.typed(socket, user_id, conversation, time.monotonic(), active=active)
        self._soon()

    # --- By the clock ------------------------------------------------------------------------

    def _soon(self) -> None:
        """Do what can be done at once, and let the clock do the rest."""
        if self._typists:
            clock.watch(self)
            self.ring(time.monotonic())

    def ring(self, now: float) -> None:
        """Say what is to be said, and tell what is to be told."""
        self._say(now)
        for conversation, event in self._typists.frames(now):
            self._here.push(conversation, event)
        if not self._typists:
            clock.forget(self)

    def _say(self, now: float) -> None:
        waits = self._saying is not None and not self._saying.done()
        if waits or now < self._said_at + _INTERVAL or not self._typists.unsaid:
            return
        self._said_at = now
        self._saying = asyncio.create_task(_publish({"typing": self._typists.take_acts()}))

    # --- From all processes, this one too ----------------------------------------------------

    def heard(self, message: Mapping[str, Any]) -> None:
        """Take in what a process says."""
        now = time.monotonic()
        for conversation, acts in message["typing"].items():
            if self._here.has(conversation):
                self._typists.heard(conversation, acts, now)
        self._soon()


async def _publish(batch: dict[str, Any]) -> None:
    try:
        await publish_now_async(to_rosters("live.said", batch))
    except LayerError as error:
        # The next one makes up for it.
        logger.info("live_lost", error=type(error).__name__)
