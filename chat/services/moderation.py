"""Keeping order in a room: pins, silence, and deleting what somebody said."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from chat.change import Change, changing, conversation_of
from chat.models import Member, Message
from chat.permissions import require, require_above
from chat.services.audit import record, record_member
from chat.services.conversations import require_open
from chat.services.reply_actions import active_replies, readable_message, stop_reply
from chat.services.revisions import keeps_wordings
from core.errors import Conflict, Invalid, NotFound

# Messages in one change.
_AT_ONCE: Final = 1000

_DELETE = """
WITH gone AS (
    SELECT id, content, row_number() OVER (ORDER BY created_seq) AS place
    FROM (
        SELECT id, content, created_seq FROM chat_message
        WHERE conversation_id = %(conversation)s AND author_user_id = %(person)s
            AND deleted_at IS NULL AND created_at > statement_timestamp() - interval '24 hours'
        ORDER BY created_seq LIMIT %(most)s
    ) newest
), kept AS (
    INSERT INTO chat_revision (id, message_id, n, content, by_id, at)
    SELECT gen_random_uuid(), g.id, coalesce((
        SELECT max(r.n) FROM chat_revision r WHERE r.message_id = g.id
    ), 0) + 1, g.content, %(by)s, statement_timestamp()
    FROM gone g WHERE %(keep)s AND g.content <> ''
), named AS (
    DELETE FROM chat_mention WHERE message_id IN (SELECT id FROM gone)
)
UPDATE chat_message m SET
    deleted_at = statement_timestamp(), deleted_by_id = %(by)s, content = '',
    mentions = '[]', mentions_all = FALSE, pinned_at = NULL, pinned_by_id = NULL,
    seq = %(seq)s + gone.place
FROM gone WHERE m.id = gone.id
RETURNING m.id
"""


def pin_message(*, user: User, message_id: UUID, on: bool) -> Message:
    """Pin a message in its room, or take the pin away; doing so twice changes nothing.

    Raises NotFound, NotAllowed, ReadOnly, Conflict for a message that was deleted.
    """
    with changing(conversation_of(message_id)) as change:
        member = change.member(user)
        message = readable_message(change, member, message_id)
        require("pin", member, change.room)
        require_open(change)
        if on == (message.pinned_at is not None):
            return message
        if on and message.deleted_at is not None:
            raise Conflict("This message was deleted.")
        message.pinned_at = timezone.now() if on else None
        message.pinned_by = user if on else None
        change.changed(message, "pinned_at", "pinned_by")
        action = "message.pinned" if on else "message.unpinned"
        record(change.room, action, by=user, message=message)
        return message


def silence_member(
    *, user: User, conversation_id: UUID, member_id: UUID, until: datetime | None, reason: str = ""
) -> Member:
    """Let a person say nothing before `until`; None lets them speak again.

    Raises NotFound, NotAllowed for someone not below one's own rank, Invalid for an assistant.
    """
    with changing(conversation_id) as change:
        acting = change.member(user)
        member = change.member_with_id(member_id)
        require_above("silence", acting, change.room, member.role)
        silence(change=change, member=member, by=user, until=until, reason=reason)
    return member


def silence(
    *,
    change: Change,
    member: Member,
    by: User,
    until: datetime | None,
    reason: str = "",
    as_staff: bool = False,
) -> None:
    """Do what `silence_member` does, in the caller's change, whoever asks."""
    if member.user_id is None:
        raise Invalid("Only people are silenced.", field="member")
    if member.silenced_until == until:
        return
    member.silenced_until = until
    change.changed(member, "silenced_until")
    details = {} if until is None else {"until": until.isoformat()}
    action = "member.unsilenced" if until is None else "member.silenced"
    record_member(
        change.conversation, action, member, by=by, as_staff=as_staff, reason=reason, **details
    )


def delete_messages_of(
    *, user: User, conversation_id: UUID, member_id: UUID, reason: str = ""
) -> int:
    """Delete what a person said in a room in the last 24 hours; return how many messages.

    Also in its topics and threads, and if they have left. Raises NotFound, NotAllowed for
    someone not below one's own rank, Invalid for an assistant.
    """
    with changing(conversation_id) as change:
        person = _person_below(change, user, member_id)
    said = Message.objects.live().filter(
        Q(conversation=conversation_id) | Q(conversation__access_id=conversation_id),
        author_user=person,
        created_at__gt=timezone.now() - timedelta(days=1),
    )
    places = said.values_list("conversation", flat=True).distinct().order_by("conversation")
    return sum(_delete_in(place, person, member_id, by=user, reason=reason) for place in places)


def _delete_in(
    conversation_id: UUID, person: UUID, member_id: UUID, *, by: User, reason: str
) -> int:
    deleted = 0
    while True:
        with changing(conversation_id) as change:
            # They may have risen, or the one who asks have gone.
            _person_below(change, by, member_id)
            gone = _delete_some(change, person, by=by)
            deleted += len(gone)
            if gone:
                record(
                    change.room,
                    "messages.deleted",
                    by=by,
                    person=person,
                    reason=reason,
                    count=len(gone),
                )
        if len(gone) < _AT_ONCE:
            return deleted


def _person_below(change: Change, user: User, member_id: UUID) -> UUID:
    acting = change.member(user)
    member = Member.objects.filter(pk=member_id, conversation=change.room).first()
    if member is None:
        raise NotFound
    require_above("delete_others", acting, change.room, member.role)
    if member.user_id is None:
        raise Invalid("Only a person's messages are deleted at once.", field="member")
    return member.user_id


def _delete_some(change: Change, person: UUID, *, by: User) -> Sequence[UUID]:
    values: dict[str, Any] = {
        "conversation": change.conversation.pk,
        "person": person,
        "by": by.pk,
        "most": _AT_ONCE,
        "keep": keeps_wordings(change.room),
    }
    asked = Message.objects.filter(
        author_user=person, deleted_at=None, children__status__in=Message.ACTIVE
    )
    for message in asked.filter(conversation=change.conversation).distinct():
        for reply in active_replies(message):
            stop_reply(change=change, reply=reply)
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, values | {"seq": change.conversation.seq})
        gone = [row[0] for row in cursor.fetchall()]
    if gone:
        rows = Message.objects.with_authors().filter(pk__in=gone).order_by("seq")
        change.stamped(list(rows))
    return gone
