"""Threads, as far as the one who asks may see them."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef

from accounts.models import User
from chat.models import Conversation, ConversationQuerySet, Member, Message, ReadState
from chat.selectors.messages import visible_message
from chat.selectors.rooms import room_states
from protocol.states import RoomState


class Thread(NamedTuple):
    """What hangs on a message, as somebody lists it; None while nobody has replied."""

    root: Message
    room: RoomState | None


def thread_of(user: User, message_id: UUID) -> Thread:
    """Return the thread of a message. Raises NotFound for a message that one may not read."""
    root = visible_message(user, message_id)
    found = Conversation.objects.live().filter(root=root).values_list("pk", flat=True)
    states = room_states(user.pk, list(found))
    return Thread(root, states[0] if states else None)


def followed_threads(user: User) -> ConversationQuerySet:
    """The threads that a person follows, of conversations that they are in."""
    # Few of all that they have ever followed, and found as such.
    following = ReadState.objects.filter(user=user, follows=True, gone=False)
    present = Member.objects.present().filter(user=user, conversation=OuterRef("access_id"))
    followed = Conversation.objects.live().filter(pk__in=following.values("conversation_id"))
    return followed.filter(Exists(present), root__isnull=False)


def threads(user: User, conversations: Sequence[Conversation]) -> list[Thread]:
    """Return these threads as a person lists them, in this order."""
    rooms = room_states(user.pk, [conversation.pk for conversation in conversations])
    roots = Message.objects.with_authors().in_bulk([room.root for room in rooms if room.root])
    return [Thread(roots[room.root], room) for room in rooms if room.root in roots]
