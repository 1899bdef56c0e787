"""Merging: what a guest did becomes that of the account they have.

Conversation by conversation, each in one change. Whatever was moved is moved no second time, so a
job that was killed is repeated.
"""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from accounts.services import revoke_all
from chat import feed
from chat.change import Change, changing
from chat.models import (
    Block,
    Conversation,
    Group,
    Invitation,
    JoinRequest,
    Member,
    Message,
    Reaction,
    ReadState,
    Report,
    Revision,
    Sanction,
)
from chat.permissions import RANKS
from chat.services.blocks import block
from chat.services.conversations import direct_key
from chat.services.members import end_membership
from chat.services.reactions import count_soon
from chat.services.topic_rows import give_topic
from chat.states import person_state
from core.errors import ChatireError, NotFound
from core.jobs import enqueue_named
from core.publishing import publish_on_commit, to_user
from notifications.services import move_notifications
from protocol.events import AccountsMerged

MERGE_TASK = "chat.merge_accounts"
# Messages of one conversation that are told one by one; more are asked for by those who follow it.
MOST_TOLD: Final = 50

# The same `client_id` by both is no sign that they said the same.
_MOVE_MESSAGES = """
UPDATE chat_message m SET seq = %(seq)s + moved.place,
    author_user_id = CASE m.author_user_id
        WHEN %(guest)s THEN %(account)s ELSE m.author_user_id END,
    pinned_by_id = CASE m.pinned_by_id WHEN %(guest)s THEN %(account)s ELSE m.pinned_by_id END,
    deleted_by_id = CASE m.deleted_by_id WHEN %(guest)s THEN %(account)s ELSE m.deleted_by_id END,
    mentions = replace(m.mentions::text, %(guest)s::uuid::text, %(account)s::uuid::text)::jsonb,
    client_id = CASE WHEN m.author_user_id IS DISTINCT FROM %(guest)s OR NOT EXISTS (
        SELECT FROM chat_message o
        WHERE o.conversation_id = m.conversation_id AND o.author_user_id = %(account)s
            AND o.client_id = m.client_id
    ) THEN m.client_id END
FROM (
    SELECT id, row_number() OVER (ORDER BY created_seq) AS place FROM chat_message
    WHERE id IN (
        SELECT id FROM chat_message
        WHERE conversation_id = %(conversation)s AND author_user_id = %(guest)s
        UNION SELECT id FROM chat_message
        WHERE conversation_id = %(conversation)s AND pinned_at IS NOT NULL
            AND pinned_by_id = %(guest)s
        UNION SELECT id FROM chat_message
        WHERE conversation_id = %(conversation)s AND deleted_at IS NOT NULL
            AND number IS NOT NULL AND deleted_by_id = %(guest)s
        UNION SELECT message_id FROM chat_mention
        WHERE user_id = %(guest)s AND conversation_id = %(conversation)s
    )
) AS moved WHERE m.id = moved.id
"""
_MOVE_MENTIONS = """
UPDATE chat_mention m SET user_id = %(account)s
WHERE m.user_id = %(guest)s AND m.conversation_id = %(conversation)s AND NOT EXISTS (
    SELECT FROM chat_mention o
    WHERE o.user_id = %(account)s AND o.conversation_id = m.conversation_id
        AND o.message_id = m.message_id
)
"""
_DROP_MENTIONS = """
DELETE FROM chat_mention WHERE user_id = %(guest)s AND conversation_id = %(conversation)s
"""
_MOVE_REPORTS = """
UPDATE chat_report r SET reporter_id = %(account)s
WHERE r.reporter_id = %(guest)s AND NOT EXISTS (
    SELECT FROM chat_report o WHERE o.message_id = r.message_id AND o.reporter_id = %(account)s
)
"""
# Both are counted anew, under the other name.
_MOVE_REACTIONS = """
UPDATE chat_reaction r SET user_id = %(account)s, counted = FALSE
WHERE r.conversation_id = %(conversation)s AND r.user_id = %(guest)s AND r.given AND NOT EXISTS (
    SELECT FROM chat_reaction o
    WHERE o.message_id = r.message_id AND o.user_id = %(account)s AND o.emoji = r.emoji
)
"""
_DROP_REACTIONS = """
UPDATE chat_reaction SET given = FALSE
WHERE conversation_id = %(conversation)s AND user_id = %(guest)s AND given
"""


def merge_later(*, guest_id: UUID) -> None:
    """Have a guest merged into the account that they say is theirs, once that is committed."""
    enqueue_named(MERGE_TASK, lock=f"merge {guest_id}", guest_id=str(guest_id))


def merge_accounts(*, guest_id: UUID) -> None:
    """Move everything of a guest to their account, tell both, and end the guest's sessions."""
    guest = User.objects.select_related("merged_into").get(pk=guest_id)
    account = guest.merged_into
    if account is None:
        return
    for conversation in _conversations_of(guest):
        try:
            merge_in_conversation(conversation_id=conversation, guest=guest, account=account)
        except NotFound:
            continue  # It was deleted meanwhile.
    # What is left is of conversations in which there is nothing else of theirs.
    Conversation.objects.filter(creator=guest).update(creator=account)
    Invitation.objects.filter(by=guest).update(by=account)
    JoinRequest.objects.filter(decided_by=guest).update(decided_by=account)
    Sanction.objects.filter(by=guest).update(by=account)
    Revision.objects.filter(by=guest).update(by=account)
    Report.objects.filter(resolved_by=guest).update(resolved_by=account)
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_REPORTS, {"guest": guest.pk, "account": account.pk})
    for group in Group.objects.filter(people=guest):
        group.people.add(account)
        group.people.remove(guest)
    _move_blocks(guest, account)
    _move_requests(guest, account)
    move_notifications(of=guest, to=account)
    merged = AccountsMerged(guest=guest.pk, account=person_state(account))
    publish_on_commit([to_user(guest.pk, merged), to_user(account.pk, merged)])
    revoke_all(user=guest)


def _conversations_of(guest: User) -> Iterable[UUID]:
    found = set(Member.objects.present().filter(user=guest).values_list("conversation", flat=True))
    found |= set(
        Message.objects.filter(author_user=guest).values_list("conversation", flat=True).distinct()
    )
    found |= set(ReadState.objects.filter(user=guest).values_list("conversation", flat=True))
    found |= set(Reaction.objects.filter(user=guest).values_list("conversation", flat=True))
    bans = Sanction.objects.live().filter(user=guest)
    found |= set(bans.values_list("conversation", flat=True))
    # Those inside of rooms first: who leaves a room follows nothing in it any more.
    rooms = Conversation.objects.filter(pk__in=found)
    return rooms.order_by(F("access_id").asc(nulls_last=True), "pk").values_list("pk", flat=True)


def merge_in_conversation(*, conversation_id: UUID, guest: User, account: User) -> None:
    """Move what a guest did in one conversation, and their place in it, to an account.

    Raises NotFound.
    """
    with changing(conversation_id) as change:
        _move_messages(change, guest, account)
        _move_reactions(change, guest, account)
        _move_membership(change, guest, account)
        give_topic(change, of=guest, to=account)
        conversation = change.conversation
        if conversation.creator_id == guest.pk:
            conversation.creator = account
            change.changed(conversation, "creator_id")
        invited = Member.objects.present().select_related("user", "assistant")
        for member in invited.filter(conversation=conversation, invited_by=guest):
            member.invited_by = account
            change.changed(member, "invited_by")


def _move_messages(change: Change, guest: User, account: User) -> None:
    values: dict[str, Any] = {
        "conversation": change.conversation.pk,
        "guest": guest.pk,
        "account": account.pk,
        "seq": change.conversation.seq,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_MESSAGES, values)
        moved = cursor.rowcount
        cursor.execute(_MOVE_MENTIONS, values)
        cursor.execute(_DROP_MENTIONS, values)
    if moved:
        change.moved(moved, told=moved <= MOST_TOLD)
        change.touch()


def _move_reactions(change: Change, guest: User, account: User) -> None:
    values = {
        "conversation": change.conversation.pk,
        "guest": guest.pk,
        "account": account.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_REACTIONS, values)
        moved = cursor.rowcount
        cursor.execute(_DROP_REACTIONS, values)
        moved += cursor.rowcount
    if moved:
        count_soon(change.conversation.pk)


def _move_membership(change: Change, guest: User, account: User) -> None:
    room = change.conversation
    members = Member.objects.select_related("user", "assistant").filter(conversation=room)
    own = members.present().filter(user=guest).first()
    theirs = members.filter(user=account).first()
    bans = Sanction.objects.live().filter(conversation=room)
    if own is not None and bans.filter(user=account).exists():
        # Nobody comes by a second name into what is closed to them under their own.
        end_membership(change=change, member=own)
        return
    if theirs is None or theirs.left_at is not None:
        bans.filter(user=guest).update(user=account)
    if own is not None:
        if theirs is None or theirs.left_at is not None:
            if theirs is not None:
                theirs.delete()
            own.user = account
            own.nickname = own.nickname.removesuffix(" (guest)")
            change.changed(own, "user", "nickname")
        else:
            _join_memberships(change, own, theirs)
    publish_on_commit(feed.move_reading(room.pk, guest.pk, account.pk))
    if room.kind == Conversation.Kind.DIRECT:
        _move_direct(change)
    if own is not None:
        change.touch()


def _join_memberships(change: Change, own: Member, theirs: Member) -> None:
    """Both are in it: the account has the higher role, and reads what either could."""
    theirs.role = max(own.role, theirs.role, key=RANKS.__getitem__)
    silences = [one.silenced_until for one in (own, theirs) if one.silenced_until is not None]
    theirs.silenced_until = max(silences, default=None)
    theirs.joined_seq = min(own.joined_seq, theirs.joined_seq)
    theirs.joined_at = min(own.joined_at, theirs.joined_at)
    change.changed(theirs, "role", "silenced_until", "joined_seq", "joined_at")
    own.left_at = timezone.now()
    change.changed(own, "left_at")


def _move_direct(change: Change) -> None:
    """Let the conversation of these people be found as theirs, unless they have one already."""
    room = change.conversation
    people = Member.objects.present().filter(conversation=room).values_list("user_id", flat=True)
    key = direct_key(person for person in people if person is not None)
    if key == room.direct_key:
        return
    others = Conversation.objects.filter(direct_key=key).exclude(pk=room.pk)
    room.direct_key = None if len(people) < 2 or others.exists() else key
    Conversation.objects.filter(pk=room.pk).update(direct_key=room.direct_key)


def _move_requests(guest: User, account: User) -> None:
    """One who asks twice asks once; one who is in asks no more."""
    asked = JoinRequest.objects.filter(user=guest)
    is_in = Member.objects.present().filter(user=account).values("conversation")
    waits = JoinRequest.objects.filter(user=account, decided_at=None).values("conversation")
    asked.filter(Q(conversation__in=is_in) | Q(conversation__in=waits), decided_at=None).delete()
    asked.update(user=account)


def _move_blocks(guest: User, account: User) -> None:
    """Nobody gets round a block by a second name, nor loses their own."""
    blocks = Block.objects.filter(Q(user=guest) | Q(blocked=guest), on=True)
    for one in blocks.select_related("user"):
        by = account if one.user_id == guest.pk else one.user
        whom = account.pk if one.blocked_id == guest.pk else one.blocked_id
        try:
            if by.pk != whom:
                block(user=by, person=whom, on=True)
        except ChatireError:
            continue  # They block as many as they may.
    blocks.filter(user=guest).update(on=False)
