"""Messages, as far as the one who asks may see them."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from accounts.models import User
from chat.models import Assistant, Conversation, Message
from chat.selectors.conversations import readable_after
from core.columns import Columns
from core.errors import NotFound
from protocol.limits import PAGE

_REPLY = Columns(Message, "m")
_ASSISTANT = Columns(Assistant, "a")
_ACTIVE_REPLY = f"""
SELECT {_REPLY}, {_ASSISTANT}
FROM chat_message m LEFT JOIN chat_assistant a ON a.id = m.author_assistant_id
WHERE m.id = %s AND m.status IN (%s, %s)
"""  # noqa: S608 - nothing but the names of columns
_PRECONDITIONS = f"""
SELECT
    me.role,
    CASE WHEN me.silenced_until > statement_timestamp() THEN me.silenced_until END,
    extract(epoch FROM statement_timestamp() - me.last_sent_at)::float,
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
            AND created_seq > CASE WHEN %(joined)s THEN me.joined_seq ELSE 0 END
    ),
    (
        SELECT id FROM chat_message
        WHERE conversation_id = %(conversation)s ORDER BY created_seq DESC LIMIT 1
    ),
    (
        SELECT author_assistant_id FROM chat_message
        WHERE conversation_id = %(conversation)s AND id = %(parent)s::uuid
            AND deleted_at IS NULL AND role = 'assistant'
    ),
    ARRAY(
        SELECT hearing.assistant_id FROM chat_member hearing
        WHERE hearing.conversation_id = %(members_of)s AND hearing.assistant_id IS NOT NULL
            AND hearing.left_at IS NULL AND (hearing.hears = 'all' OR hearing.hears = 'thread'
                AND %(conversation)s::uuid <> %(members_of)s::uuid AND EXISTS (
                    SELECT FROM chat_message
                    WHERE conversation_id = %(conversation)s
                        AND author_assistant_id = hearing.assistant_id
                ))
        ORDER BY hearing.joined_seq
    ),
    {_ASSISTANT}
FROM (VALUES (1)) AS once
LEFT JOIN chat_member me
    ON me.conversation_id = %(members_of)s AND me.user_id = %(user)s AND me.left_at IS NULL
        AND (%(root_seq)s::bigint IS NULL OR me.joined_seq < %(root_seq)s)
LEFT JOIN LATERAL (
    SELECT assistant.* FROM chat_member member
    JOIN chat_assistant assistant ON assistant.id = member.assistant_id
    WHERE member.conversation_id = %(members_of)s AND member.left_at IS NULL
        AND CASE
            WHEN %(slug)s::text IS NULL THEN assistant.is_active
            ELSE assistant.slug = %(slug)s::text
        END
    ORDER BY assistant.name LIMIT 1
) AS a ON TRUE
"""  # noqa: S608 - nothing but the names of columns


class MessagePage(NamedTuple):
    """Messages in conversation order, and whether there are more on either side."""

    messages: list[Message]
    more_before: bool
    more_after: bool


def active_reply(message_id: UUID) -> Message | None:
    """Return a reply that has not ended, with its assistant; it is read whenever one begins."""
    with connection.cursor() as cursor:
        cursor.execute(_ACTIVE_REPLY, [message_id, *Message.ACTIVE])
        row = cursor.fetchone()
    if row is None:
        return None
    reply = _REPLY.read(row[: len(_REPLY)])
    if reply.author_assistant_id is not None:
        reply.author_assistant = _ASSISTANT.read(row[len(_REPLY) :])
    return reply


def visible_message(user: User, message_id: UUID) -> Message:
    """Return a message of a conversation the person is a member of. Raises NotFound."""
    message = Message.objects.with_authors().filter(pk=message_id).first()
    if message is None or message.created_seq <= readable_after(user.pk, message.conversation_id):
        raise NotFound
    return message


def message_page(
    *,
    user: User,
    conversation_id: UUID,
    before: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> MessagePage:
    """Return up to `limit` messages next to a place in the conversation, oldest first.

    `before` and `after` are `created_seq`s, exclusive; with neither, the newest are returned.
    Raises NotFound.
    """
    rows = Message.objects.with_authors().filter(
        conversation_id=conversation_id, created_seq__gt=readable_after(user.pk, conversation_id)
    )
    if after is not None:
        rows = rows.filter(created_seq__gt=after)
        if before is not None:
            rows = rows.filter(created_seq__lt=before)
        found = list(rows.order_by("created_seq")[: limit + 1])
        return MessagePage(found[:limit], more_before=True, more_after=len(found) > limit)
    if before is not None:
        rows = rows.filter(created_seq__lt=before)
    found = list(rows.order_by("-created_seq")[: limit + 1])
    page = found[:limit][::-1]
    return MessagePage(page, more_before=len(found) > limit, more_after=before is not None)


class SendPreconditions(NamedTuple):
    """All that decides whether and how someone's words are taken."""

    role: str | None  # None: no member
    silenced_until: datetime | None  # None: not now
    seconds_since_last: float | None  # since their last message, where there is slow mode
    sent_before: bool  # under this `client_id`
    waiting_replies: int
    parent_is_here: bool
    newest: UUID | None  # the message said last
    answered: UUID | None  # the assistant whose reply the parent is
    hearing: list[UUID]  # assistants that reply to whatever is said here
    # The assistant of the slug, be it switched off; without one, the first that is switched on.
    assistant: Assistant | None


def send_preconditions(
    user: User,
    conversation: Conversation,
    *,
    client_id: str,
    room: Conversation | None = None,
    parent: UUID | None = None,
    slug: str | None = None,
) -> SendPreconditions:
    """Read it in one statement, since whoever sends a message waits for it.

    `room` is whose members may send, if that is another.

    To be asked under the conversation's lock, and not in the statement that takes the lock: one
    that has waited for a lock still sees other tables as they were before.
    """
    values: dict[str, str | UUID | int | bool | None] = {
        "conversation": conversation.pk,
        "members_of": conversation.members_of,
        # Whoever may not read what a thread hangs on is no member of it.
        "root_seq": conversation.root_seq
        if room is not None and room.history == Conversation.History.JOINED
        else None,
        "user": user.pk,
        "client_id": client_id,
        "parent": parent,
        "joined": conversation.history == Conversation.History.JOINED
        and conversation.access_id is None,
        "slug": slug,
    }
    with connection.cursor() as cursor:
        cursor.execute(_PRECONDITIONS, values)
        row = cursor.fetchone()
    assistant = row[-len(_ASSISTANT) :]
    return SendPreconditions(
        role=row[0],
        silenced_until=row[1],
        seconds_since_last=row[2],
        sent_before=row[3],
        waiting_replies=row[4],
        parent_is_here=row[5],
        newest=row[6],
        answered=row[7],
        hearing=row[8],
        assistant=_ASSISTANT.read(assistant) if assistant[0] is not None else None,
    )
