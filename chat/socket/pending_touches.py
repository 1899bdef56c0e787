"""What the people of this process have yet to be told of conversations that moved.

A client hears of what moved once a second at most, whatever its conversations do.
"""

import asyncio
from array import array
from collections.abc import Hashable, Iterable
from typing import Any, Final, Protocol
from uuid import UUID

from chat.unread import INTERVAL, Touch, names
from protocol.events import RoomsTouched
from protocol.states import NamedTouch, RoomTouch

MOST: Final = 100  # conversations in one `rooms.touched`


class Socket(Protocol):
    """What the roster needs of a socket."""

    active: bool  # whether its person uses it

    def push(self, message: dict[str, Any]) -> object:
        """Pass a published frame on."""

    async def membership_ended(self, event: dict[str, Any]) -> None:
        """Stop following a conversation, and pass the frame on that says so."""


class Person:
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


class PendingTouches:
    """Who has yet to be told of something, and the clock by which they are."""

    def __init__(self) -> None:
        self._waiting: set[Person] = set()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, touch: Touch, people: Iterable[Person]) -> None:
        """Keep a touch for these people, merged with what waits of the same conversation."""
        for person in people:
            earlier = person.touched.get(touch.conversation)
            person.touched[touch.conversation] = earlier.merged(touch) if earlier else touch
            self._waiting.add(person)

    def forget(self, person: Person) -> None:
        """Somebody is not here any more."""
        self._waiting.discard(person)

    def stop(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tell(self) -> None:
        """Tell those who have heard nothing for a second; come back for the others."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        frames: dict[Hashable, dict[str, Any]] = {}
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
        self.tell()

    def _tell_one(self, person: Person, frames: dict[Hashable, dict[str, Any]]) -> None:
        """Send a person what moved. Those who are told the same are sent the very same frame."""
        touches = [person.touched.pop(key) for key in list(person.touched)[:MOST]]
        me = person.user_id.hex
        wrote = any(me in touch.read for touch in touches)
        named = [names(one, me) for touch in touches for one in touch.named.values()]
        same = (*(id(touch) for touch in touches), *named)
        event = None if wrote else frames.get(same)
        if event is None:
            frame = rooms_touched(touches, me)
            event = {"type": "push", "kind": frame.type, "frame": frame.model_dump_json()}
            if not wrote:
                frames[same] = event
        for socket in person.sockets:
            socket.push(event)


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
                named=[
                    NamedTouch(number=int(number), seq=naming["seq"], you=names(naming, person))
                    for number, naming in touch.named.items()
                ],
                read=touch.read.get(person),
            )
            for touch in touches
        ]
    )
