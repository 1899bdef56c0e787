"""`conversation.touched`: lists and unread counts of all members, live, at most once a second.

A message to a large group changes everyone's unread count. Counting in the request that sent
it would make it wait, so one thread per process does it for all touched conversations together:
the first touch at once, further ones coalesced to one a second each. A touch lost to a crash
is made good by the next one, or when a list is loaded.
"""

import os
import threading
import time
from collections.abc import Iterable
from uuid import UUID

import structlog
from django.db import close_old_connections, connection
from django.db.utils import Error as DatabaseError

from channels_pgnotify.errors import PublishError
from chat.events import publish_now, to_user
from chat.selectors.unread import unread_of_members
from protocol.events import ConversationTouched

logger = structlog.get_logger(__name__)

INTERVAL = 1.0  # seconds between two touches of one conversation


class _Toucher(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="touches", daemon=True)
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._due: dict[UUID, float] = {}
        self._last: dict[UUID, float] = {}

    def touch(self, conversation_id: UUID) -> None:
        with self._lock:
            if conversation_id not in self._due:
                last = self._last.get(conversation_id, -INTERVAL)
                self._due[conversation_id] = max(time.monotonic(), last + INTERVAL)
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

    def _take(self) -> tuple[list[UUID], float | None]:
        now = time.monotonic()
        with self._lock:
            ready = [key for key, due in self._due.items() if due <= now]
            for key in ready:
                del self._due[key]
                self._last[key] = now
            for key in [key for key, last in self._last.items() if last + INTERVAL < now]:
                del self._last[key]
            wait = min(self._due.values()) - now if self._due else None
        return ready, wait

    def _publish(self, conversation_ids: Iterable[UUID]) -> None:
        close_old_connections()
        try:
            publish_now(
                *(
                    to_user(
                        row.user_id,
                        ConversationTouched(
                            conversation=row.conversation_id, seq=row.seq, unread=row.unread
                        ),
                    )
                    for row in unread_of_members(conversation_ids)
                )
            )
        except (DatabaseError, PublishError):
            logger.warning("touch_lost", exc_info=True)
            connection.close()


_toucher: _Toucher | None = None
_starting = threading.Lock()


def touch(conversation_id: UUID) -> None:
    """Tell every member's sockets, soon, that something happened in a conversation."""
    global _toucher
    toucher = _toucher
    # A forked process inherits the object but not its thread.
    if toucher is None or toucher.pid != os.getpid() or not toucher.is_alive():
        with _starting:
            if _toucher is None or _toucher.pid != os.getpid() or not _toucher.is_alive():
                _toucher = _Toucher()
                _toucher.start()
            toucher = _toucher
    toucher.touch(conversation_id)


def stop() -> None:
    """End the thread and close its connection; the next touch starts another."""
    global _toucher
    if _toucher is not None and _toucher.pid == os.getpid():
        _toucher.stop()
    _toucher = None
