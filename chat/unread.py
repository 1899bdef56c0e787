"""Touches: what moved in a conversation, told to every list that has it, at most once a second.

A touch is one publication however many people are in the conversation: each `ws` process knows
which of its people are, and passes it on (`chat.socket.roster`). It carries what a list shows and
counts with, so that nobody asks the database. One thread per process publishes them: the first of a
conversation at once, further ones merged into one a second. A touch lost to a crash is made good
by the next one, or when the list is asked for (`chat.selectors.rooms`).
"""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import structlog
from django.db import close_old_connections, connection, transaction
from django.db.utils import Error as DatabaseError

from channels_pgnotify.errors import PublishError
from chat.models import Conversation
from core.publishing import publish_now, to_rosters
from protocol.limits import PREVIEW

logger = structlog.get_logger(__name__)

INTERVAL = 1.0  # seconds between two touches of one conversation


class Naming(TypedDict):
    """Whom a message names as of a conversation's `seq`; people in hex, never its author."""

    seq: int
    all: bool
    people: list[str]
    by: str | None


def names(naming: Naming, person: str) -> bool:
    """Say whether a person, in hex, is named."""
    return person != naming["by"] and (naming["all"] or person in naming["people"])


@dataclass(slots=True)
class Touch:
    """A conversation that moved, as it is with this `seq`.

    `removed` are the numbers of deleted messages, `named` is whom messages name, by their numbers
    as text, `read` the marks of those who wrote, by the hex form of their ids.
    """

    conversation: str = ""
    seq: int = 0
    number: int = 0
    active_at: str = ""
    title: str = field(default="", repr=False)
    preview: str | None = field(default="", repr=False)
    removed: list[int] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)
    named: dict[str, Naming] = field(default_factory=dict)

    def merged(self, other: "Touch") -> "Touch":
        """Return both as one, whichever came first."""
        older, newer = (self, other) if self.seq <= other.seq else (other, self)
        read = dict(older.read)
        for person, number in newer.read.items():
            read[person] = max(number, read.get(person, 0))
        named = {**older.named, **newer.named}
        for key, naming in older.named.items():
            if naming["seq"] > named[key]["seq"]:
                named[key] = naming
        return Touch(
            conversation=newer.conversation,
            seq=newer.seq,
            number=max(older.number, newer.number),
            active_at=max(older.active_at, newer.active_at),
            title=newer.title,
            preview=older.preview if newer.preview is None else newer.preview,
            removed=older.removed + newer.removed,
            named=named,
            read=read,
        )

    def message(self) -> dict[str, Any]:
        """Return it as a message of the channel layer."""
        return {name: getattr(self, name) for name in self.__slots__}


def touch_on_commit(
    conversation: Conversation,
    *,
    preview: str | None,
    removed: list[int],
    named: dict[str, Naming],
    wrote: dict[UUID, int],
) -> None:
    """Tell every member's lists, once the change is committed, what it was about."""
    touch = Touch(
        conversation=conversation.pk.hex,
        seq=conversation.seq,
        number=conversation.number,
        active_at=_moment(conversation.active_at),
        title=conversation.title,
        preview=None if preview is None else preview[:PREVIEW],
        removed=removed,
        named=named,
        read={person.hex: number for person, number in wrote.items()},
    )
    transaction.on_commit(lambda: _touch(touch), robust=True)


def _moment(moment: datetime) -> str:
    # As REST and events write it; of one length, so that text compares as time.
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Toucher(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="touches", daemon=True)
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._due: dict[str, float] = {}
        self._waiting: dict[str, Touch] = {}
        self._last: dict[str, float] = {}

    def touch(self, touch: Touch) -> None:
        key = touch.conversation
        with self._lock:
            waiting = self._waiting.get(key)
            self._waiting[key] = touch if waiting is None else waiting.merged(touch)
            if waiting is None:
                last = self._last.get(key, -INTERVAL)
                self._due[key] = max(time.monotonic(), last + INTERVAL)
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        self.join(5)

    def run(self) -> None:
        while not self._stopping:
            ready, wait = self._take()
            if ready:
                self._publish(ready)
                continue
            self._wake.wait(wait)
            self._wake.clear()
        connection.close()

    def _take(self) -> tuple[list[Touch], float | None]:
        now = time.monotonic()
        with self._lock:
            ready = []
            for key in [key for key, due in self._due.items() if due <= now]:
                del self._due[key]
                ready.append(self._waiting.pop(key))
                self._last[key] = now
            for key in [key for key, last in self._last.items() if last + INTERVAL < now]:
                del self._last[key]
            wait = min(self._due.values()) - now if self._due else None
        return ready, wait

    def _publish(self, touches: Iterable[Touch]) -> None:
        close_old_connections()
        try:
            publish_now(*(to_rosters("room.touched", touch.message()) for touch in touches))
        except (DatabaseError, PublishError) as error:
            logger.warning("touch_lost", error=type(error).__name__)
            connection.close()


_toucher: _Toucher | None = None
_starting = threading.Lock()


def _touch(touch: Touch) -> None:
    global _toucher
    toucher = _toucher
    # A forked process inherits the object but not its thread.
    if toucher is None or toucher.pid != os.getpid() or not toucher.is_alive():
        with _starting:
            if _toucher is None or _toucher.pid != os.getpid() or not _toucher.is_alive():
                _toucher = _Toucher()
                _toucher.start()
            toucher = _toucher
    toucher.touch(touch)


def stop() -> None:
    """End the thread and close its connection; the next touch starts another."""
    global _toucher
    if _toucher is not None and _toucher.pid == os.getpid():
        _toucher.stop()
    _toucher = None
