"""Whose presence each socket is told, and what it was told last.

A client hears of the people it watches every two seconds at most, whatever they do. Moments are in
seconds.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from chat.socket.presence import Presences
from protocol.events import PresenceEvent
from protocol.states import PersonStatusState, PresenceState

INTERVAL: Final = 2.0  # between two frames to one socket
Statuses = Mapping[UUID, PersonStatusState | None]


class _Watched:
    __slots__ = ("sockets", "status")

    def __init__(self, status: PersonStatusState | None) -> None:
        self.status = status
        self.sockets: set[Any] = set()


class _Watcher:
    __slots__ = ("by_sharing", "may_hear_at", "news", "told")

    def __init__(self, *, by_sharing: bool) -> None:
        self.by_sharing = by_sharing
        self.told: dict[UUID, PresenceState] = {}
        self.news: set[UUID] = set()
        self.may_hear_at = 0.0


class Watching:
    """The sockets of this process that watch somebody."""

    def __init__(self, presences: Presences) -> None:
        self._presences = presences
        self._people: dict[UUID, _Watched] = {}
        self._watchers: dict[Any, _Watcher] = {}
        self._due: set[Any] = set()
        # Who may not see everyone any more whom they watch: told nothing until that is known.
        self._doubted: set[Any] = set()
        self._checking: set[Any] = set()

    def __bool__(self) -> bool:
        """Say whether anybody watches."""
        return bool(self._watchers)

    def watch(self, socket: Any, statuses: Statuses, *, by_sharing: bool) -> list[PresenceState]:
        """Watch these people from now on, and nobody else; returns how they are.

        `by_sharing` says that they may be seen only while a conversation is shared with them.
        """
        may_hear_at = self._watchers[socket].may_hear_at if socket in self._watchers else 0.0
        self.forget(socket)
        if not statuses:
            return []
        watcher = self._watchers[socket] = _Watcher(by_sharing=by_sharing)
        watcher.may_hear_at = may_hear_at
        for user, status in statuses.items():
            watched = self._people.setdefault(user, _Watched(status))
            watched.status = status
            watched.sockets.add(socket)
            watcher.told[user] = self._state(user)
        return list(watcher.told.values())

    def forget(self, socket: Any) -> None:
        """A socket is gone, or watches nobody any more."""
        watcher = self._watchers.pop(socket, None)
        self._due.discard(socket)
        self._doubted.discard(socket)
        self._checking.discard(socket)
        for user in watcher.told if watcher is not None else ():
            self._unwatch(socket, user)

    def _unwatch(self, socket: Any, user: UUID) -> None:
        watched = self._people.get(user)
        if watched is not None:
            watched.sockets.discard(socket)
            if not watched.sockets:
                del self._people[user]

    def changed(self, users: Iterable[UUID]) -> None:
        """Something about these people is another."""
        for user in users:
            watched = self._people.get(user)
            for socket in watched.sockets if watched is not None else ():
                watcher = self._watchers[socket]
                # Whoever went offline may have left the room that was shared with them.
                if watcher.by_sharing and watcher.told[user].presence == "offline":
                    self._doubted.add(socket)
                watcher.news.add(user)
                self._due.add(socket)

    def says(self, user: UUID, status: PersonStatusState | None) -> None:
        """Somebody says something else of themselves."""
        watched = self._people.get(user)
        if watched is not None:
            watched.status = status
            self.changed([user])

    def left(self, user: UUID) -> None:
        """Somebody is in a conversation no more, which may have been all that was shared."""
        watched = self._people.get(user)
        for socket in watched.sockets if watched is not None else ():
            self.doubt(socket)

    def doubt(self, socket: Any, *, all_people: bool = False) -> None:
        """Look again at whom a socket may see, if that hangs on what is shared, or in any case."""
        watcher = self._watchers.get(socket)
        if watcher is not None and (all_people or watcher.by_sharing):
            self._checking.discard(socket)
            self._doubted.add(socket)

    @property
    def doubtful(self) -> bool:
        """Whether somebody's rights are to be looked at."""
        return bool(self._doubted)

    def take_doubted(self, most: int) -> dict[Any, list[UUID]]:
        """Return sockets whose rights are to be looked at, with whom they watch; then `keep`."""
        taken = list(self._doubted)[:most]
        self._doubted.difference_update(taken)
        self._checking.update(taken)
        return {socket: list(self._watchers[socket].told) for socket in taken}

    def keep(self, socket: Any, asked: Collection[UUID], visible: Collection[UUID]) -> None:
        """Of those asked for, only these may still be seen. The others look offline."""
        self._checking.discard(socket)
        watcher = self._watchers.get(socket)
        if watcher is None:
            return
        for user in set(asked) - set(visible):
            if user in watcher.told:
                self._unwatch(socket, user)
                watcher.news.add(user)
                self._due.add(socket)

    def frames(self, now: float) -> list[tuple[Any, dict[str, Any]]]:
        """Return what sockets are to be told now. Those told the same are given one object."""
        frames = []
        same: dict[tuple[PresenceState, ...], dict[str, Any]] = {}
        for socket in list(self._due - self._doubted - self._checking):
            watcher = self._watchers[socket]
            if now < watcher.may_hear_at:
                continue
            self._due.discard(socket)
            news = self._news(socket, watcher)
            if news:
                if news not in same:
                    frame = PresenceEvent(people=list(news))
                    event = {"type": "push", "kind": frame.type, "frame": frame.model_dump_json()}
                    same[news] = event
                frames.append((socket, same[news]))
                watcher.may_hear_at = now + INTERVAL
        return frames

    def _news(self, socket: Any, watcher: _Watcher) -> tuple[PresenceState, ...]:
        news = []
        for user in watcher.news:
            watched = self._people.get(user)
            if watched is not None and socket in watched.sockets:
                state = self._state(user)
            else:
                state = PresenceState(user=user, presence="offline", status=None)
            if watcher.told.get(user) != state:
                news.append(state)
                watcher.told[user] = state
            if watched is None or socket not in watched.sockets:
                del watcher.told[user]
        watcher.news.clear()
        return tuple(sorted(news, key=lambda state: state.user))

    def _state(self, user: UUID) -> PresenceState:
        return PresenceState(
            user=user,
            presence=self._presences.state(user).word,
            status=self._people[user].status,
        )
