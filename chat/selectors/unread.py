"""How much each member has not read."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from django.db import connection

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
