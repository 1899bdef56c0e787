"""Which of this process's people are in which conversations, so that touches spread from here.

Each `ws` process is told of a touch once, however many people are in the conversation, and asks no
database.
"""

import asyncio
from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from chat.selectors.rooms import conversations_of
from chat.socket.live import Live
from chat.socket.pending_touches import PendingTouches, Person, Socket
from chat.unread import Touch
from core.loops import PerLoop
from core.publishing import ROSTERS
from core.threads import in_thread, until_available

logger = structlog.get_logger(__name__)


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
        self._people: dict[UUID, Person] = {}
        self._rooms: dict[str, _Room] = {}
        self._person_at: dict[int, Person] = {}
        self._room_at: dict[int, _Room] = {}
        self._free_people: list[int] = []
        self._free_rooms: list[int] = []
        # Those who follow a conversation without being in it: a thread of theirs.
        self._guests: dict[str, set[Socket]] = {}
        self._pending = PendingTouches()
        self.live = Live(self)
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
            person = self._people[user_id] = self._person_at[place] = Person(user_id, place)
        person.sockets.add(socket)
        self.load(user_id, feed, conversations)
        self.live.opened(user_id)

    def closed(self, user_id: UUID, socket: Socket) -> None:
        """Count a socket out; with their last one a person is forgotten."""
        person = self._people.get(user_id)
        if person is None:
            return
        person.sockets.discard(socket)
        self.live.closed(user_id, socket)
        if person.sockets:
            return
        for place in person.rooms:
            self._take_out(person, self._room_at[place])
        self._pending.forget(person)
        del self._people[user_id], self._person_at[person.place]
        self._free_people.append(person.place)
        if not self._people:
            self._stop()

    def is_in(self, user_id: UUID, conversation: str) -> bool:
        """Say whether a person is known to be in a conversation."""
        person, room = self._people.get(user_id), self._rooms.get(conversation)
        return person is not None and room is not None and room.place in person.rooms

    def has(self, conversation: str) -> bool:
        """Say whether anybody here is in a conversation, or follows it."""
        return conversation in self._rooms or conversation in self._guests

    def sockets_of(self, user_id: UUID) -> Collection[Socket]:
        """Return the sockets that a person has here."""
        person = self._people.get(user_id)
        return person.sockets if person is not None else ()

    def push(self, conversation: str, message: dict[str, Any]) -> None:
        """Pass a frame to everyone here who is in a conversation and follows it."""
        room = self._rooms.get(conversation)
        guests = self._guests.get(conversation, set())
        for place in room.people if room is not None else ():
            for socket in self._person_at[place].sockets:
                if socket not in guests:
                    socket.push(message)
        for socket in guests:
            socket.push(message)

    def follows(self, socket: Socket, user_id: UUID, conversation: str) -> None:
        """A socket follows a conversation, which may be inside of the one its person is in."""
        if not self.is_in(user_id, conversation):
            self._guests.setdefault(conversation, set()).add(socket)

    def follows_no_more(self, socket: Socket, conversation: str) -> None:
        """A socket does not follow a conversation any more."""
        guests = self._guests.get(conversation)
        if guests is not None:
            guests.discard(socket)
            if not guests:
                del self._guests[conversation]

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
        """Take in what an event of a person's feed says of their conversations."""
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
        self.live.left(user_id)

    def _put_in(self, person: Person, conversation: str) -> None:
        room = self._rooms.get(conversation)
        if room is None:
            place = self._free_rooms.pop() if self._free_rooms else len(self._room_at)
            room = self._rooms[conversation] = self._room_at[place] = _Room(conversation, place)
        room.people.append(person.place)
        person.rooms.append(room.place)

    def _take_out(self, person: Person, room: _Room) -> None:
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
        self.live.listening()

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
            self.live.gap()
        else:
            self.live.heard(message)

    def touched(self, touch: Touch) -> None:
        """Note for everyone here who is in a conversation that it moved."""
        room = self._rooms.get(touch.conversation)
        if room is None:
            return
        self._pending.note(touch, map(self._person_at.__getitem__, room.people))
        self._pending.tell()

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

    def _stop(self) -> None:
        self._pending.stop()
        self.live.stopped()
        if self._task is not None:
            self._task.cancel()
            self._task = None


roster = PerLoop(Roster)
