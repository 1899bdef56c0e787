"""What someone's standing in a conversation is when they say something there."""

from typing import NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import User
from chat.models import Assistant, Conversation
from core.columns import Columns

_ASSISTANT = Columns(Assistant, "a")
_STANDING = f"""
SELECT
    EXISTS (
        SELECT FROM chat_member
        WHERE conversation_id = %(conversation)s AND user_id = %(user)s AND left_at IS NULL
    ),
    EXISTS (
        SELECT FROM chat_message
        WHERE conversation_id = %(conversation)s AND author_user_id = %(user)s
            AND client_id = %(client_id)s
    ),
    (
        SELECT count(*) FROM chat_message
        WHERE conversation_id = %(conversation)s AND status IN ('pending', 'streaming')
    ),
    EXISTS (
        SELECT FROM chat_message
        WHERE conversation_id = %(conversation)s AND id = %(parent)s::uuid
    ),
    (
        SELECT id FROM chat_message
        WHERE conversation_id = %(conversation)s ORDER BY created_seq DESC LIMIT 1
    ),
    {_ASSISTANT}
FROM (VALUES (1)) AS once
LEFT JOIN LATERAL (
    SELECT assistant.* FROM chat_member member
    JOIN chat_assistant assistant ON assistant.id = member.assistant_id
    WHERE member.conversation_id = %(conversation)s AND member.left_at IS NULL
        AND CASE
            WHEN %(slug)s::text IS NULL THEN assistant.is_active
            ELSE assistant.slug = %(slug)s::text
        END
    ORDER BY assistant.name LIMIT 1
) AS a ON TRUE
"""  # noqa: S608 - nothing but the names of columns


class Standing(NamedTuple):
    """All that decides whether and how someone's words are taken."""

    is_member: bool
    sent_before: bool  # under this `client_id`
    waiting_replies: int
    parent_is_here: bool
    newest: UUID | None  # the message said last
    # The assistant of the slug, be it switched off; without one, the first that is switched on.
    assistant: Assistant | None


def standing_of(
    user: User,
    conversation: Conversation,
    *,
    client_id: str,
    parent: UUID | None = None,
    slug: str | None = None,
) -> Standing:
    """Read it in one statement, since whoever sends a message waits for it.

    To be asked under the conversation's lock, and not in the statement that takes the lock: one
    that has waited for a lock still sees other tables as they were before.
    """
    values: dict[str, str | UUID | None] = {
        "conversation": conversation.pk,
        "user": user.pk,
        "client_id": client_id,
        "parent": parent,
        "slug": slug,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, values)
        row = cursor.fetchone()
    assistant = row[-len(_ASSISTANT) :]
    return Standing(
        is_member=row[0],
        sent_before=row[1],
        waiting_replies=row[2],
        parent_is_here=row[3],
        newest=row[4],
        assistant=_ASSISTANT.read(assistant) if assistant[0] is not None else None,
    )
