"""What one alone sees of a conversation: the read mark, what one is told of, pins.

None of it locks the conversation or is told to anyone else.
"""

from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from chat.feed import end_following, follow, take_seqs
from chat.models import Conversation, Message, ReadState
from chat.selectors.conversations import readable_after
from chat.selectors.rooms import mine_states, room_state
from core.errors import Invalid, NotFound
from core.publishing import publish_on_commit, to_user
from protocol.events import MineUpdated
from protocol.states import MineState


class _Unchanged(Exception):
    """There is nothing to change, and no number to take for it."""


def mark_read(*, user: User, conversation_id: UUID, number: int) -> MineState:
    """Mark everything up to `number` as read; going back, or past the end, changes nothing more.

    Raises NotFound.
    """
    newest = Conversation.objects.filter(pk=conversation_id).values_list("number", flat=True)
    mark = min(number, newest.first() or 0)
    return _change(user, conversation_id, {"read__lt": mark}, {"read": mark})


def mark_unread(*, user: User, conversation_id: UUID, message_id: UUID) -> MineState:
    """Let a message be unread again, and all after it; where it is so already, nothing changes.

    Raises NotFound; Invalid for a reply that is still being made.
    """
    after = readable_after(user.pk, conversation_id)
    message = Message.objects.filter(
        pk=message_id, conversation=conversation_id, created_seq__gt=after
    ).first()
    if message is None:
        raise NotFound
    if message.number is None:
        raise Invalid("This cannot be read yet.", field="message")
    before = {"read__gte": message.number}
    return _change(user, conversation_id, before, {"read": message.number - 1})


def change_mine(
    *,
    user: User,
    conversation_id: UUID,
    **values: Any,
) -> MineState:
    """Set one's `level`, `muted_until` or `pinned`: what one is notified of, and its place.

    `follows` says whether one hears of a thread at all. Raises NotFound; Invalid for a level that
    is null, or for not following what is no thread.
    """
    if "level" in values and values["level"] is None:
        raise Invalid("A level is one of all, mentions, none.", field="level")
    follows = values.pop("follows", None)
    if follows is not None:
        _follow(user, conversation_id, on=follows)
    if not values or follows is False:
        return room_state(user.pk, conversation_id).mine
    return _change(user, conversation_id, {}, values)


def _follow(user: User, conversation_id: UUID, *, on: bool) -> None:
    """Begin or end to follow a thread. Raises NotFound, Invalid for what is no thread."""
    mine = room_state(user.pk, conversation_id).mine
    thread = Conversation.objects.filter(pk=conversation_id, access_id__isnull=False)
    if not thread.exists():
        raise Invalid("Only threads are followed or not; leave a room.", field="follows")
    if on == mine.follows:
        return
    with transaction.atomic():
        told = (
            follow(conversation_id, {user.pk: mine.number})
            if on
            else end_following([(user.pk, conversation_id)])
        )
        publish_on_commit(told)


def _change(
    user: User, conversation_id: UUID, where: dict[str, Any], values: dict[str, Any]
) -> MineState:
    rows = ReadState.objects.filter(user=user, conversation=conversation_id, gone=False, **where)
    try:
        with transaction.atomic():
            seq = take_seqs([user.pk])[user.pk]
            if not rows.update(**values, seq=seq):
                raise _Unchanged
            mine = _mine(user, conversation_id)
            event = MineUpdated(seq=seq, mine=[mine], gone=[])
            publish_on_commit([to_user(user.pk, event)])
    except _Unchanged:
        return _mine(user, conversation_id)
    return mine


def _mine(user: User, conversation_id: UUID) -> MineState:
    found = mine_states([user.pk], [conversation_id])
    # What one may read without following it has nothing of one's own that could be changed.
    return found[0][1] if found else room_state(user.pk, conversation_id).mine
