"""Who may be named, and what names one, as far as the one who asks may see them."""

from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Count, QuerySet
from django.db.models.expressions import RawSQL

from accounts.models import User
from chat.models import Group, Member, Message
from chat.permissions import may
from core.errors import NotFound
from protocol.states import MentionableState

MOST: Final = 20
_EVERYONE: Final = ("all", "everyone")

# Names as they are read from their beginning, or from that of a word.
_PEOPLE = """
SELECT type, id, handle, name, avatar, people FROM (
    SELECT 'user' AS type, u.id, u.username AS handle,
        coalesce(nullif(m.nickname, ''), nullif(u.display_name, ''),
            CASE WHEN u.is_guest THEN 'Guest' ELSE u.username END) AS name,
        '' AS avatar, NULL::bigint AS people
    FROM chat_member m JOIN accounts_user u ON u.id = m.user_id
    WHERE m.conversation_id = %(room)s AND m.left_at IS NULL AND u.is_active
    UNION ALL
    SELECT 'assistant', a.id, a.slug, a.name, a.avatar, NULL
    FROM chat_member m JOIN chat_assistant a ON a.id = m.assistant_id
    WHERE m.conversation_id = %(room)s AND m.left_at IS NULL AND a.is_active
    UNION ALL
    SELECT 'group', g.id, g.slug, g.name, '', count(*)
    FROM chat_group g
    JOIN chat_group_people p ON p.group_id = g.id
    JOIN chat_member m
        ON m.conversation_id = %(room)s AND m.user_id = p.user_id AND m.left_at IS NULL
    GROUP BY g.id
) AS who
WHERE starts_with(lower(handle), lower(%(q)s::text))
    OR starts_with(lower(name), lower(%(q)s::text))
    OR strpos(lower(name), ' ' || lower(%(q)s::text)) > 0
ORDER BY NOT starts_with(lower(handle), lower(%(q)s::text)), type, lower(name), id
LIMIT %(most)s
"""

# Only of conversations that one is in, and of those what one may read.
_NAMING = """
SELECT m.id FROM chat_mention n
JOIN chat_message m ON m.id = n.message_id
JOIN chat_conversation c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN chat_member p
    ON p.conversation_id = coalesce(c.access_id, c.id)
    AND p.user_id = n.user_id AND p.left_at IS NULL
WHERE n.user_id = %s
    AND (c.history <> 'joined' OR c.access_id IS NOT NULL OR m.created_seq > p.joined_seq)
UNION
SELECT m.id FROM chat_readstate r
JOIN chat_conversation c ON c.id = r.conversation_id AND c.deleted_at IS NULL
JOIN chat_member p
    ON p.conversation_id = coalesce(c.access_id, c.id)
    AND p.user_id = r.user_id AND p.left_at IS NULL
JOIN chat_message m ON m.conversation_id = c.id AND m.mentions_all
WHERE r.user_id = %s AND NOT r.gone AND m.author_user_id IS DISTINCT FROM r.user_id
    AND (c.access_id IS NOT NULL OR m.created_seq > p.joined_seq)
"""


def mentionable(user: User, conversation_id: UUID, *, q: str = "") -> list[MentionableState]:
    """Return whom one may name in a conversation, those whose names begin so: the first 20.

    Raises NotFound.
    """
    deciding = Member.objects.present().deciding(conversation_id).filter(user=user)
    member = deciding.select_related("conversation").first()
    if member is None:
        raise NotFound
    room = member.conversation
    with connection.cursor() as cursor:
        cursor.execute(_PEOPLE, {"room": room.pk, "q": q, "most": MOST})
        found = [_state(*row) for row in cursor.fetchall()]
    wanted = next((word for word in _EVERYONE if word.startswith(q.lower())), None)
    if wanted is not None and may("mention_all", member.role, room):
        everyone = _state("all", None, wanted, "Everyone", "", room.people)
        return [*found[: MOST - 1], everyone]
    return found


def _state(
    kind: str, identity: UUID | None, handle: str, name: str, avatar: str, people: int | None
) -> MentionableState:
    return MentionableState(
        type=kind,  # type: ignore[arg-type]
        id=identity,
        handle=handle,
        name=name,
        avatar=avatar,
        people=people,
    )


def messages_naming(user: User) -> QuerySet[Message]:
    """The messages that name a person, by name, by a group's or with everyone, and may be read."""
    return Message.objects.live().with_authors().filter(pk__in=RawSQL(_NAMING, [user.pk, user.pk]))  # noqa: S611


def groups(user: User) -> QuerySet[Group]:
    """The groups of people that can be named, with how many are in each; a guest knows of none."""
    if user.is_guest:
        return Group.objects.none()
    return Group.objects.annotate(size=Count("people"))
