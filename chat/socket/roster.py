"""Which of this process's people are in which conversations, so that touches spread from here.

Each `ws` process is told of a touch once, however many people are in the conversation, and asks no
database. A client hears of what moved once a second at most, whatever its conversations do.
"""

import asyncio
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from channels.layers import get_channel_layer

from chat.selectors.rooms import conversations_of
from chat.unread import INTERVAL, Touch
from core.publishing import ROSTERS
from core.threads import in_thread, until_available
from protocol.events import RoomsTouched
from protocol.states import RoomTouch

logger = structlog.get_logger(__name__)

MOST: Final = 100  # conversations in one `rooms.touched`


class Socket(Protocol):
    """What the roster needs of a socket."""

    def push(self, message: dict[str, Any]) -> object:
        """Pass a published frame on."""

    async def membership_ended(self, event: dict[str, Any]) -> None:
        """Stop following a conversation, and pass the frame on that says so."""


class _Person:
    """Someone with sockets here: what they are in, and what they have yet to be told."""

    __slots__ = ("feed", "may_hear_at", "place", "rooms", "sockets", "touched", "user_id")

    def __init__(self, user_id: UUID, place: int) -> None:
        self.user_id = user_id
        self.place = place
        self.sockets: set[Socket] = set()
        self.rooms = array("I")
        self.feed = -1
        self.touched: dict[str, Touch] = {}
        self.may_hear_at = 0.0


class _Room:
    """A conversation that somebody here is in."""

    __slots__ = ("conversation", "people", "place")

    def __init__(self, conversation: str, place: int) -> None:
        self.conversation = conversation
        self.place = place
        self.people = array("I")


class Roster:
    """The people with sockets in this process, by the conversations they are in.

    Both are numbers here: four bytes for each person in each conversation, four the other way.
    """

    def __init__(self) -> None:
        self._people: dict[UUID, _Person] = {}
        self._rooms: dict[str, _Room] = {}
        self._person_at: dict[int, _Person] = {}
        self._room_at: dict[int, _Room] = {}
        self._free_people: list[int] = []
        self._free_rooms: list[int] = []
        self._waiting: set[_Person] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    # --- Who is here -------------------------------------------------------------------------

    async def opened(
        self, user_id: UUID, socket: Socket, *, feed: int, conversations: Iterable[str]
    ) -> None:
        """Count a socket in, whose person was in these conversations at this seq of their feed.

        What came between that read and this call is found when the client asks: see `catch_up`.
        """
        await self._listen()
        person = self._people.get(user_id)
        if person is None:
            place = self._free_people.pop() if self._free_people else len(self._person_at)
            person = self._people[user_id] = self._person_at[place] = _Person(user_id, place)
        person.sockets.add(socket)
        self.load(user_id, feed, conversations)

    def closed(self, user_id: UUID, socket: Socket) -> None:
        """Count a socket out; with their last one a person is forgotten."""
        person = self._people.get(user_id)
        if person is None:
            return
        person.sockets.discard(socket)
        if person.sockets:
            return
        for place in person.rooms:
            self._take_out(person, self._room_at[place])
        self._waiting.discard(person)
        del self._people[user_id], self._person_at[person.place]
        self._free_people.append(person.place)
        if not self._people:
            self._stop()

    def is_in(self, user_id: UUID, conversation: str) -> bool:
        """Say whether a person is known to be in a conversation."""
        person, room = self._people.get(user_id), self._rooms.get(conversation)
        return person is not None and room is not None and room.place in person.rooms

    def load(self, user_id: UUID, feed: int, conversations: Iterable[str]) -> None:
        """Take what a person is in at this seq of their feed, if no more is known already."""
        person = self._people.get(user_id)
        if person is None or person.feed >= feed:
            return
        person.feed = feed
        for place in person.rooms:
            self._take_out(person, self._room_at[place])
        del person.rooms[:]
        for conversation in conversations:
            self._put_in(person, conversation)

    async def catch_up(self, user_id: UUID, feed: int) -> None:
        """Read what a person is in anew if their feed is known to have moved on unheard."""
        person = self._people.get(user_id)
        if person is not None and person.feed < feed:
            known = await in_thread(conversations_of, [user_id])
            if user_id in known:
                self.load(user_id, *known[user_id])

    def heard(self, user_id: UUID, message: Mapping[str, Any]) -> None:
        """Take in what a `mine.updated` says of a person's conversations."""
        person = self._people.get(user_id)
        if person is None:
            return
        for conversation in message["joined"]:
            self.joined(user_id, conversation)
        for conversation in message["gone"]:
            self.left(user_id, conversation)
        # One that was missed before is found out by `catch_up`.
        if message["seq"] == person.feed + 1:
            person.feed += 1

    def joined(self, user_id: UUID, conversation: str) -> None:
        """A person is in another conversation from now on."""
        person = self._people.get(user_id)
        if person is not None and not self.is_in(user_id, conversation):
            self._put_in(person, conversation)

    def left(self, user_id: UUID, conversation: str) -> None:
        """A person is in a conversation no more, and hears of nothing in it."""
        person, room = self._people.get(user_id), self._rooms.get(conversation)
        if person is None or room is None or room.place not in person.rooms:
            return
        person.rooms.remove(room.place)
        person.touched.pop(conversation, None)
        self._take_out(person, room)

    def _put_in(self, person: _Person, conversation: str) -> None:
        room = self._rooms.get(conversation)
        if room is None:
            place = self._free_rooms.pop() if self._free_rooms else len(self._room_at)
            room = self._rooms[conversation] = self._room_at[place] = _Room(conversation, place)
        room.people.append(person.place)
        person.rooms.append(room.place)

    def _take_out(self, person: _Person, room: _Room) -> None:
        room.people.remove(person.place)
        if not room.people:
            del self._rooms[room.conversation], self._room_at[room.place]
            self._free_rooms.append(room.place)

    # --- What it is told ---------------------------------------------------------------------

    async def _listen(self) -> None:
        if self._task is not None and not self._task.done():
            return
        layer: Any = get_channel_layer()
        channel = await layer.new_channel("roster")
        await layer.group_add(ROSTERS, channel)
        self._task = asyncio.create_task(self._run(layer, channel))

    async def _run(self, layer: Any, channel: str) -> None:
        try:
            while True:
                message = await layer.receive(channel)
                try:
                    await self._take(message)
                except Exception:
                    # One that cannot be passed on must not keep the next ones from everyone.
                    logger.exception("roster_failed", kind=message.get("type"))
        finally:
            await layer.group_discard(ROSTERS, channel)

    async def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "room.touched":
            del message["type"]
            self.touched(Touch(**message))
        elif kind == "room.deleted":
            await self._deleted(message)
        elif kind == "layer.gap":
            await self._load_again()

    def touched(self, touch: Touch) -> None:
        """Note for everyone here who is in a conversation that it moved."""
        room = self._rooms.get(touch.conversation)
        if room is None:
            return
        for place in room.people:
            person = self._person_at[place]
            earlier = person.touched.get(touch.conversation)
            person.touched[touch.conversation] = earlier.merged(touch) if earlier else touch
            self._waiting.add(person)
        self._tell()

    async def _deleted(self, message: dict[str, Any]) -> None:
        room = self._rooms.get(message["conversation"])
        if room is None:
            return
        for person in [self._person_at[place] for place in room.people]:
            self.left(person.user_id, room.conversation)
            for socket in list(person.sockets):
                await socket.membership_ended(message)

    async def _load_again(self) -> None:
        """Joins or leaves may have been missed. For what moved, clients ask themselves."""
        people = list(self._people)
        known = await until_available(conversations_of, people)
        for user_id in people:
            feed, conversations = known.get(user_id, (0, []))
            self.load(user_id, feed, conversations)

    # --- What it tells -----------------------------------------------------------------------

    def _tell(self) -> None:
        """Tell those who have heard nothing for a second; come back for the others."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        frames: dict[tuple[int, ...], dict[str, Any]] = {}
        for person in [one for one in self._waiting if one.may_hear_at <= now]:
            self._tell_one(person, frames)
            person.may_hear_at = now + INTERVAL
            if not person.touched:
                self._waiting.discard(person)
        if self._waiting and self._timer is None:
            soonest = min(person.may_hear_at for person in self._waiting)
            self._timer = loop.call_at(soonest, self._tell_later)

    def _tell_later(self) -> None:
        self._timer = None
        self._tell()

    def _tell_one(self, person: _Person, frames: dict[tuple[int, ...], dict[str, Any]]) -> None:
        """Send a person what moved. Those who are told the same are sent the very same frame."""
        touches = [person.touched.pop(key) for key in list(person.touched)[:MOST]]
        me = person.user_id.hex
        wrote = any(me in touch.read for touch in touches)
        same = tuple(id(touch) for touch in touches)
        event = None if wrote else frames.get(same)
        if event is None:
            frame = rooms_touched(touches, me)
            event = {"type": "push", "kind": frame.type, "frame": frame.model_dump_json()}
            if not wrote:
                frames[same] = event
        for socket in person.sockets:
            socket.push(event)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None


def rooms_touched(touches: Iterable[Touch], person: str) -> RoomsTouched:
    """Return what a person, in hex, is told of these touches."""
    return RoomsTouched(
        rooms=[
            RoomTouch(
                conversation=UUID(hex=touch.conversation),
                seq=touch.seq,
                number=touch.number,
                active_at=touch.active_at,  # type: ignore[arg-type] # pydantic reads it
                title=touch.title,
                preview=touch.preview,
                removed=touch.removed,
                read=touch.read.get(person),
            )
            for touch in touches
        ]
    )


_rosters: WeakKeyDictionary[asyncio.AbstractEventLoop, Roster] = WeakKeyDictionary()


def roster() -> Roster:
    """Return the roster of the running event loop, which in a `ws` process is the one there is."""
    return _rosters.setdefault(asyncio.get_running_loop(), Roster())
