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
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import close_old_connections, connection
from django.db.utils import Error as DatabaseError

from channels_pgnotify.errors import PublishError
from core.publishing import publish_now, to_user
from protocol.events import ConversationTouched

logger = structlog.get_logger(__name__)

# A badge says "99+" at the latest here, so counting further is work no one sees.
MOST = 100

_UNREAD = """
SELECT c.id, m.user_id, c.seq, unread.count
FROM chat_conversation c
JOIN chat_member m ON m.conversation_id = c.id AND m.left_at IS NULL AND m.user_id IS NOT NULL
CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT 1 FROM chat_message t
        WHERE t.conversation_id = c.id AND t.created_seq > m.last_read_seq
          AND t.deleted_at IS NULL AND t.status NOT IN ('pending', 'streaming')
          AND t.author_user_id IS DISTINCT FROM m.user_id
        ORDER BY t.created_seq LIMIT %s
    ) AS newer
) AS unread
"""


class Unread(NamedTuple):
    """One member's count of messages by others after their read mark, at most MOST."""

    conversation_id: UUID
    user_id: UUID
    seq: int
    unread: int


def unread_of_members(conversation_ids: Iterable[UUID]) -> list[Unread]:
    """Count for every person who is a member of these conversations, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_UNREAD} WHERE c.id = ANY(%s)", [MOST, list(conversation_ids)])
        return [Unread(*row) for row in cursor.fetchall()]


def unread_of_user(user_id: UUID, conversation_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Count for one person over several conversations: conversation id → count."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_UNREAD} WHERE c.id = ANY(%s) AND m.user_id = %s",
            [MOST, list(conversation_ids), user_id],
        )
        return {row[0]: row[3] for row in cursor.fetchall()}


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
        except (DatabaseError, PublishError) as error:
            logger.warning("touch_lost", error=type(error).__name__)
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
