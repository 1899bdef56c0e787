"""Who looked at which topic: one view a person and day, added up in memory and stored seldom.

Nothing of it locks, numbers or tells anything; views of the last seconds before a process dies are
lost, and that is all.
"""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import connection
from django.db.utils import Error as DatabaseError
from django.utils import timezone

from accounts.models import User
from chat.models import TopicView
from core.pacing import Paced
from protocol.states import Changes

logger = structlog.get_logger(__name__)

INTERVAL = 30.0  # seconds between two flushes of one process
_KEY: Final = UUID(int=0)
# Beyond so many that wait, further ones are not counted: memory is bounded.
_MOST: Final = 100_000

_FLUSH = """
WITH seen AS (
    INSERT INTO chat_topicview (topic_id, user_id, day)
    SELECT topic_id, user_id, %(day)s
    FROM unnest(%(topics)s::uuid[], %(users)s::uuid[]) AS seen(topic_id, user_id)
    ORDER BY topic_id, user_id
    ON CONFLICT DO NOTHING RETURNING topic_id
), counted AS (
    SELECT t.conversation_id, seen.count
    FROM (SELECT topic_id, count(*) FROM seen GROUP BY topic_id) AS seen
    JOIN chat_topic t ON t.conversation_id = seen.topic_id
    ORDER BY t.conversation_id FOR NO KEY UPDATE OF t
)
UPDATE chat_topic t SET views = views + counted.count
FROM counted WHERE counted.conversation_id = t.conversation_id
"""

_lock = threading.Lock()
_seen: set[tuple[UUID, UUID]] = set()
_flushed_at = 0.0


def count_view(user: User, changes: Changes) -> None:
    """Count a look at a conversation that is a topic; a person's on one day count once."""
    if changes.conversation.kind != "discussion":
        return
    with _lock:
        if len(_seen) >= _MOST:
            return
        _seen.add((changes.conversation.id, user.pk))
    _flushing.soon(_KEY)


def flush_views() -> None:
    """Store what was looked at since the last time."""
    global _seen
    with _lock:
        seen, _seen = _seen, set()
    if not seen:
        return
    topics, users = zip(*seen, strict=True)
    values: dict[str, Any] = {
        "day": datetime.now(UTC).date(),
        "topics": list(topics),
        "users": list(users),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FLUSH, values)


def _flush() -> float:
    global _flushed_at
    now = timezone.now().timestamp()
    waits = _flushed_at + INTERVAL - now
    if waits > 0:
        return waits
    _flushed_at = now
    flush_views()
    return 0.0


def forget_views() -> None:
    """Drop who looked at what before today."""
    before = datetime.now(UTC).date() - timedelta(days=1)
    TopicView.objects.filter(day__lt=before).delete()


def stop() -> None:
    """End the thread that stores views, with what waits."""
    _flushing.stop()
    try:
        flush_views()
    except DatabaseError as error:
        logger.warning("views_lost", error=type(error).__name__)


_flushing = Paced("topic views", lambda _key: _flush())
