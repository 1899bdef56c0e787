"""Who is typing where, told to each conversation's followers once a second, however many type.

Nothing here knows of sockets or clocks but by what it is given: moments are in seconds.
"""

from typing import Any, Final
from uuid import UUID

from protocol.events import TypingEvent
from protocol.limits import TYPING_SECONDS, TYPISTS

INTERVAL: Final = 1.0  # between two frames about one conversation
# Those who type on are told of again, for who came since and whose frame was dropped.
_REPEAT: Final = 2.0

# By conversation, who says to be typing, or to be no longer. Ids are in hex.
Acts = dict[str, dict[str, bool]]


class _Room:
    __slots__ = ("again", "may_hear_at", "told", "told_at", "until")

    def __init__(self) -> None:
        self.until: dict[str, float] = {}  # by person, in the order in which they began
        self.again = False  # whether somebody said so since it was told
        self.told: list[str] = []
        self.told_at = 0.0
        self.may_hear_at = 0.0


class Typists:
    """The people who type in conversations that somebody here is in, in whatever process."""

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        # What has been said here and is still to be told to the other processes.
        self._acts: Acts = {}
        # Where each socket of this process types, and how long that is believed.
        self._here: dict[object, tuple[str, str, float]] = {}

    def __bool__(self) -> bool:
        """Say whether there is anything to do, now or later."""
        return bool(self._rooms or self._acts or self._here)

    @property
    def unsaid(self) -> bool:
        """Whether there is something to tell the other processes."""
        return bool(self._acts)

    def typed(
        self, socket: object, user: UUID, conversation: str, now: float, *, active: bool
    ) -> None:
        """Take in what a socket here says. It types in one conversation at a time."""
        before = self._here.get(socket)
        if before is not None and (not active or before[0] != conversation):
            self.closed(socket)
        if active:
            self._here[socket] = (conversation, user.hex, now + TYPING_SECONDS)
            self._acts.setdefault(conversation, {})[user.hex] = True

    def closed(self, socket: object) -> None:
        """Whoever typed at a socket does so no longer."""
        conversation, user, _ = self._here.pop(socket, ("", "", 0.0))
        if conversation:
            self._acts.setdefault(conversation, {})[user] = False

    def take_acts(self) -> Acts:
        """Return what is to be told to all processes, this one too; from now on it is told."""
        acts, self._acts = self._acts, {}
        return acts

    def heard(self, conversation: str, acts: dict[str, bool], now: float) -> None:
        """Take in what a process says of a conversation."""
        room = self._rooms.setdefault(conversation, _Room())
        for user, active in acts.items():
            if active:
                room.until[user] = now + TYPING_SECONDS
                room.again = True
            else:
                room.until.pop(user, None)

    def frames(self, now: float) -> list[tuple[str, dict[str, Any]]]:
        """Return what followers are to be told now, by conversation; what is old is forgotten."""
        for socket in [one for one, said in self._here.items() if said[2] <= now]:
            del self._here[socket]
        frames = []
        for conversation, room in list(self._rooms.items()):
            for user in [user for user, until in room.until.items() if until <= now]:
                del room.until[user]
            users = list(room.until)
            news = users != room.told or (room.again and now >= room.told_at + _REPEAT)
            if now < room.may_hear_at:
                continue
            if news:
                frames.append((conversation, _event(conversation, users)))
                room.again = False
                room.told, room.told_at, room.may_hear_at = users, now, now + INTERVAL
            elif not users:
                del self._rooms[conversation]
        return frames

    def forget(self) -> None:
        """Nobody is here who could be told."""
        self._rooms.clear()


def _event(conversation: str, users: list[str]) -> dict[str, Any]:
    named = [UUID(hex=user) for user in users[:TYPISTS]]
    frame = TypingEvent(conversation=UUID(hex=conversation), users=named, count=len(users))
    return {
        "type": "push",
        "kind": frame.type,
        "conversation": conversation,
        "frame": frame.model_dump_json(),
    }
