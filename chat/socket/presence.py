"""Who is here, by what each `ws` process says of its own people. In memory, and never stored.

A process numbers what it says, so that the others notice what they missed and ask for all of it.
Whoever is gone is so only after a while: a reload, a lost network or another server is no farewell.
Nothing here knows of sockets or clocks but by what it is given: moments are in seconds.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from protocol.fields import Presence as Word

LINGER: Final = 10.0  # between somebody's last socket and that they are gone
SILENCE: Final = 30.0  # after which a process is gone, with its people
MOST: Final = 5_000  # people in one message, which may have a megabyte
_HEX: Final = 32  # characters of an id


class State(IntEnum):
    """How much somebody is here; of several processes, the most counts."""

    OFFLINE = 0
    IDLE = 1
    ACTIVE = 2

    @property
    def word(self) -> Word:
        """The state as clients know it."""
        return _WORDS[self]


_WORDS: Final[dict[State, Word]] = {
    State.OFFLINE: "offline",
    State.IDLE: "idle",
    State.ACTIVE: "active",
}

# The states in a message: ids in hex, one after another, by state.
Written = dict[str, str]


class _Process:
    """Another process, how far it was heard, and when."""

    __slots__ = ("heard_at", "number", "people")

    def __init__(self, heard_at: float, number: int = 0) -> None:
        self.heard_at = heard_at
        self.number = number
        self.people: dict[UUID, State] = {}


class Presences:
    """The people of all processes. `changed` are those who are to be looked at again."""

    def __init__(self) -> None:
        self.own: dict[UUID, State] = {}
        self.changed: set[UUID] = set()
        self.version = 0  # counts changes of this process's people
        self._others: dict[str, _Process] = {}
        self._number = 0
        self._unsaid: dict[UUID, None] = {}
        self._gone_at: dict[UUID, float] = {}
        # When what this process says was last heard by itself: until then the layer works.
        self._echo_at = 0.0

    def state(self, user: UUID) -> State:
        """Return how much somebody is here."""
        most = self.own.get(user, State.OFFLINE)
        for process in self._others.values():
            most = max(most, process.people.get(user, State.OFFLINE))
        return most

    # --- This process's people ---------------------------------------------------------------

    def opened(self, user: UUID) -> None:
        """Somebody has a socket here."""
        if user not in self.own:
            self.said(user, State.IDLE)

    def said(self, user: UUID, state: State) -> None:
        """This is how much somebody is here."""
        if self.own.get(user, State.OFFLINE) == state:
            return
        if state is State.OFFLINE:
            del self.own[user]
        else:
            self.own[user] = state
        self.version += 1
        self._unsaid[user] = None
        self.changed.add(user)

    def closed(self, user: UUID, now: float) -> None:
        """One of somebody's sockets is gone; what that changes is found after a while."""
        self._gone_at.pop(user, None)
        self._gone_at[user] = now + LINGER

    def settle(self, now: float, state_of: Callable[[UUID], State]) -> None:
        """Look again at those who have not come back by now."""
        while self._gone_at:
            # The first to go is the first to be found.
            user, at = next(iter(self._gone_at.items()))
            if at > now:
                return
            del self._gone_at[user]
            self.said(user, state_of(user))

    @property
    def settled(self) -> bool:
        """Whether nobody is being waited for."""
        return not self._gone_at

    # --- To the other processes --------------------------------------------------------------

    @property
    def unsaid(self) -> bool:
        """Whether there is something to say."""
        return bool(self._unsaid)

    def take_news(self) -> dict[str, Any]:
        """Return what is to be said now, and its number; from now on it is said."""
        news = list(self._unsaid)[:MOST]
        for user in news:
            del self._unsaid[user]
        if not news:
            return {"number": self._number}
        self._number += 1
        return {
            "number": self._number,
            "people": written((user, self.own.get(user, State.OFFLINE)) for user in news),
        }

    def everyone(self) -> list[dict[str, Any]]:
        """Return all of this process's people as messages, the first of which begins anew."""
        people = list(self.own.items())
        parts = [people[at : at + MOST] for at in range(0, len(people), MOST)] or [[]]
        return [
            {"number": self._number, "all": at == 0, "people": written(part)}
            for at, part in enumerate(parts)
        ]

    # --- From the other processes ------------------------------------------------------------

    def echoed(self, now: float) -> None:
        """What this process said has come back to it."""
        self._echo_at = now

    def heard(self, name: str, message: Mapping[str, Any], now: float) -> bool:
        """Take in what a process says. False if something was missed, so that it is to be asked."""
        process = self._others.setdefault(name, _Process(now))
        process.heard_at = now
        number: int = message["number"]
        people = read(message.get("people", {}))
        if "all" in message:
            if message["all"]:
                self._replace(process, number, people)
            else:
                self._update(process, people)
            return True
        known = number == process.number + bool(people)
        if known:
            process.number = number
            self._update(process, people)
        return known

    def adopt(self, name: str, people: Mapping[UUID, State], now: float) -> None:
        """Take a process to have these people, unless it has been heard already."""
        if name not in self._others:
            # Its next word will not continue from there, so that it is asked.
            process = self._others[name] = _Process(now, number=-1)
            self._update(process, people)

    def forget_silent(self) -> None:
        """Forget processes that say no more, as long as this one's own words come back."""
        for name, process in list(self._others.items()):
            if self._echo_at > process.heard_at + SILENCE:
                del self._others[name]
                self.changed.update(process.people)

    def forget_others(self) -> None:
        """Nothing was heard for a while: what was known of others is worth nothing."""
        self._others.clear()

    def _replace(self, process: _Process, number: int, people: Mapping[UUID, State]) -> None:
        self.changed.update(process.people, people)
        process.number = number
        process.people = {user: state for user, state in people.items() if state}

    def _update(self, process: _Process, people: Mapping[UUID, State]) -> None:
        self.changed.update(people)
        for user, state in people.items():
            if state is State.OFFLINE:
                process.people.pop(user, None)
            else:
                process.people[user] = state


def written(people: Iterable[tuple[UUID, State]]) -> Written:
    """Return people's states as they travel."""
    ids: dict[str, list[str]] = {}
    for user, state in people:
        ids.setdefault(state.word, []).append(user.hex)
    return {word: "".join(users) for word, users in ids.items()}


def read(people: Written) -> dict[UUID, State]:
    """Return the states that travelled."""
    return {
        UUID(hex=ids[at : at + _HEX]): state
        for state, word in _WORDS.items()
        for ids in [people.get(word, "")]
        for at in range(0, len(ids), _HEX)
    }


def best(active: Collection[bool]) -> State:
    """Return how much somebody is here who uses, or does not, each of these sockets."""
    if not active:
        return State.OFFLINE
    return State.ACTIVE if any(active) else State.IDLE
