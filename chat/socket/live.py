"""What people do now: who is here, who types. In memory, exchanged by the `ws` processes.

Each process says what its own people did in one message a second at most, whatever they do, and
something every ten seconds. Stored is one row for each process; see `chat.models.Attendance`.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import structlog
from django.db.utils import InterfaceError, OperationalError

from channels_pgnotify.errors import LayerError
from chat.selectors.presence import attendances, seen_by
from chat.services.presence import attend
from chat.socket.clock import clock
from chat.socket.pending_touches import Socket
from chat.socket.presence import Presences, State, best
from chat.socket.typists import Typists
from chat.socket.watching import Statuses, Watching
from core.publishing import Publication, publish_now_async, to_rosters
from core.threads import in_thread
from protocol.states import PersonStatusState, PresenceState

logger = structlog.get_logger(__name__)

# Seconds: between two messages of this process, at least and at most; between two writes of who is
# here if that changed, and if it did not.
_INTERVAL: Final = 1.0
_BEAT: Final = 10.0
_ATTEND: Final = 5.0
_ATTEND_AGAIN: Final = 60.0
_LEARN: Final = 3.0  # seconds that whoever asks waits for a process that begins
_CHECKED: Final = 20  # sockets in a second whose rights are looked at again

_UNAVAILABLE = (OperationalError, InterfaceError, LayerError)


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
        self.process = uuid4()
        self._here = here
        self._typists = Typists()
        self._presences = Presences()
        self._watching = Watching(self._presences)
        self._statuses: dict[UUID, tuple[float, PersonStatusState | None]] = {}
        self._began = self._listening = False
        self._leaving = False
        self._learned = asyncio.Event()
        self._left: set[UUID] = set()
        # Whether this process was asked who is here, and which ones it is to ask ("": all).
        self._asked = False
        self._to_ask: set[str] = set()
        self._said_at = -_INTERVAL
        self._attended_at = 0.0
        self._attended = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # --- What happens here -------------------------------------------------------------------

    def listening(self) -> None:
        """From now on this process hears the others; before it heard nothing."""
        self._began = self._listening = True
        self._presences.forget_others()
        self._learned.clear()
        self._attended_at = time.monotonic()
        self._run("learn", self._learn())
        clock.watch(self)

    def stopped(self) -> None:
        """Nobody is here any more, and nothing is heard."""
        self._listening = False
        self._typists.forget()

    def leave(self) -> None:
        """This process is about to stop: whoever is sent away is not gone, but on their way."""
        self._leaving = True

    def opened(self, user_id: UUID) -> None:
        """Somebody has another socket here."""
        self._presences.opened(user_id)
        # By the clock: a client that is used is about to say so.
        if self._began:
            clock.watch(self)

    def closed(self, user_id: UUID, socket: Socket) -> None:
        """Somebody's socket is gone."""
        self._typists.closed(socket)
        self._watching.forget(socket)
        self._presences.closed(user_id, time.monotonic())
        self._soon()

    def used(self, user_id: UUID) -> None:
        """Somebody uses one of their sockets now, or does so no longer."""
        self._presences.said(user_id, self._state_of(user_id))
        self._soon()

    def left(self, user_id: UUID) -> None:
        """Somebody is in a conversation no more."""
        self._left.add(user_id)
        for socket in self._here.sockets_of(user_id):
            self._watching.doubt(socket)
        self._soon()

    def typed(self, socket: object, user_id: UUID, conversation: str, *, active: bool) -> None:
        """Somebody types in a conversation, or no longer; its followers will hear of it."""
        self._typists.typed(socket, user_id, conversation, time.monotonic(), active=active)
        self._soon()

    def watch(self, socket: Any, statuses: Statuses, *, by_sharing: bool) -> list[PresenceState]:
        """Let a socket watch these people, and nobody else; returns how they are.

        The statuses were read a moment ago: those that came since are better.
        """
        latest = {user: self._statuses[user][1] for user in statuses if user in self._statuses}
        return self._watching.watch(socket, {**statuses, **latest}, by_sharing=by_sharing)

    async def learned(self) -> None:
        """Wait until this process knows who is elsewhere."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._learned.wait(), _LEARN)

    def gap(self) -> None:
        """Something of the others may have been missed."""
        self._to_ask.add("")
        self._soon()

    def _state_of(self, user_id: UUID) -> State:
        return best([socket.active for socket in self._here.sockets_of(user_id)])

    # --- By the clock ------------------------------------------------------------------------

    def _soon(self) -> None:
        """Say at once what can be said, and let the clock do the rest."""
        if self._began:
            clock.watch(self)
            self._say(time.monotonic())

    def ring(self, now: float) -> None:
        """Say what is to be said, and tell what is to be told."""
        if not self._leaving:
            self._presences.settle(now, self._state_of)
        self._presences.forget_silent()
        self._watching.changed(self._presences.changed)
        self._presences.changed.clear()
        self._say(now)
        self._attend(now)
        if self._watching.doubtful:
            self._run("check", self._check())
        for conversation, event in self._typists.frames(now):
            self._here.push(conversation, event)
        for socket, event in self._watching.frames(now):
            socket.push(event)
        for user in [user for user, said in self._statuses.items() if said[0] < now - _BEAT]:
            del self._statuses[user]
        if not self._busy:
            clock.forget(self)

    @property
    def _busy(self) -> bool:
        if self._leaving and not self._listening:
            return False
        return bool(
            self._listening
            or self._typists
            or self._presences.unsaid
            or not self._presences.settled
            or self._presences.version != self._attended
        )

    def _say(self, now: float) -> None:
        if "say" in self._tasks or now < self._said_at + _INTERVAL:
            return
        news = self._presences.unsaid or self._typists.unsaid or self._left
        asks = self._asked or self._to_ask
        if not news and not asks and (not self._listening or now < self._said_at + _BEAT):
            return
        self._said_at = now
        self._run("say", _publish(self._words()))

    def _words(self) -> list[Publication]:
        name = self.process.hex
        said = {"process": name, **self._presences.take_news()}
        if self._typists.unsaid:
            said["typing"] = self._typists.take_acts()
        if self._left:
            said["left"] = [user.hex for user in self._left]
            self._left.clear()
        words = [to_rosters("live.said", said)]
        if self._asked:
            self._asked = False
            words += [
                to_rosters("live.said", {"process": name, **part})
                for part in self._presences.everyone()
            ]
        if self._to_ask:
            words.append(to_rosters("live.ask", {"process": name, "of": list(self._to_ask)}))
            self._to_ask.clear()
        return words

    def _attend(self, now: float) -> None:
        version = self._presences.version
        wait = _ATTEND if version != self._attended else _ATTEND_AGAIN
        if "attend" in self._tasks or now < self._attended_at + wait or self._leaving:
            return
        self._attended_at, self._attended = now, version
        self._run("attend", self._write(dict(self._presences.own)))

    async def _write(self, people: dict[UUID, State]) -> None:
        active = [user for user, state in people.items() if state is State.ACTIVE]
        idle = [user for user, state in people.items() if state is State.IDLE]
        try:
            await in_thread(attend, process=self.process, active=active, idle=idle)
        except _UNAVAILABLE as error:
            # Again, with the next change.
            logger.info("attendance_lost", error=type(error).__name__)

    async def _check(self) -> None:
        for socket, asked in self._watching.take_doubted(_CHECKED).items():
            try:
                seen = await in_thread(seen_by, socket.user, asked)
            except _UNAVAILABLE:
                self._watching.doubt(socket, all_people=True)
                continue
            self._watching.keep(socket, asked, seen)

    async def _learn(self) -> None:
        """Ask who is elsewhere; until they answer, what they wrote down last is believed."""
        try:
            for process, active, idle in await in_thread(attendances):
                if process != self.process:
                    people = dict.fromkeys(idle, State.IDLE) | dict.fromkeys(active, State.ACTIVE)
                    self._presences.adopt(process.hex, people, time.monotonic())
        except _UNAVAILABLE as error:
            logger.info("attendance_unread", error=type(error).__name__)
        self._learned.set()
        self.gap()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something, unless the same runs already."""
        if name in self._tasks:
            work.close()
            return
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    # --- From all processes, this one too ----------------------------------------------------

    def heard(self, message: Mapping[str, Any]) -> None:
        """Take in what a process says."""
        now = time.monotonic()
        if message["type"] == "live.status":
            self._status(message, now)
        elif message["type"] == "live.blocked":
            # Neither sees the other from now on, or they may again once they ask.
            for user in message["users"]:
                for socket in self._here.sockets_of(UUID(hex=user)):
                    self._watching.doubt(socket, all_people=True)
        elif message["process"] == self.process.hex:
            self._presences.echoed(now)
        elif message["type"] == "live.ask":
            self._asked |= not {"", self.process.hex}.isdisjoint(message["of"])
        elif not self._presences.heard(message["process"], message, now):
            self._to_ask.add(message["process"])
        for conversation, acts in message.get("typing", {}).items():
            if self._here.has(conversation):
                self._typists.heard(conversation, acts, now)
        for user in message.get("left", ()):
            self._watching.left(UUID(hex=user))
        self.ring(now)

    def _status(self, message: Mapping[str, Any], now: float) -> None:
        user, said = UUID(hex=message["user"]), message["status"]
        status = None if said is None else PersonStatusState.model_validate_json(said)
        self._statuses[user] = (now, status)
        self._watching.says(user, status)


async def _publish(words: list[Publication]) -> None:
    try:
        await publish_now_async(*words)
    except LayerError as error:
        # Who missed something notices by its number, and asks.
        logger.info("live_lost", error=type(error).__name__)
