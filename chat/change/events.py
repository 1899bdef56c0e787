"""Which event tells of a row that was stamped."""

from chat.models import Conversation, Member, Message
from chat.states import conversation_state, member_state, message_state
from protocol.events import (
    ConversationUpdated,
    MemberJoined,
    MemberLeft,
    MembersChanged,
    MemberUpdated,
    MessageCreated,
    MessageUpdated,
)
from protocol.frames import Event
from protocol.limits import LARGE_ROOM


def created_event(row: Message | Member, people: int) -> Event:
    """Return what tells of a new row; `people` is how many persons are present now."""
    if isinstance(row, Message):
        return MessageCreated(
            conversation=row.conversation_id, seq=row.seq, message=message_state(row)
        )
    if _is_plain(row, people):
        return _members_changed(row, people)
    return MemberJoined(
        conversation=row.conversation_id, seq=row.seq, member=member_state(row), people=people
    )


def changed_event(row: Message | Member | Conversation, people: int) -> Event:
    """Return what tells of a row as it is now; `people` is how many persons are present now."""
    if isinstance(row, Message):
        return MessageUpdated(
            conversation=row.conversation_id, seq=row.seq, message=message_state(row)
        )
    if isinstance(row, Conversation):
        return ConversationUpdated(
            conversation=row.pk, seq=row.changed_seq, state=conversation_state(row)
        )
    if row.left_at is None:
        return MemberUpdated(
            conversation=row.conversation_id, seq=row.seq, member=member_state(row)
        )
    if _is_plain(row, people + 1):
        return _members_changed(row, people)
    return member_left(row, people)


def member_left(row: Member, people: int) -> MemberLeft:
    """Return what tells of a member who is no more, whoever they were."""
    return MemberLeft(
        conversation=row.conversation_id, seq=row.seq, member=member_state(row), people=people
    )


def _is_plain(member: Member, people: int) -> bool:
    """Say whether a member of a conversation of so many people is told as a number only."""
    return people > LARGE_ROOM and member.user_id is not None and member.role not in Member.MANAGERS


def _members_changed(row: Member, people: int) -> MembersChanged:
    return MembersChanged(
        conversation=row.conversation_id, first_seq=row.seq, seq=row.seq, people=people
    )
