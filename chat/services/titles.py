"""Giving a conversation the title that was found for it."""

from uuid import UUID

from chat.models import Conversation
from chat.services.changes import changing
from chat.states import conversation_state
from core.errors import NotFound
from protocol import limits
from protocol.events import ConversationUpdated


def name_conversation(*, conversation_id: UUID, title: str) -> bool:
    """Set the title of a conversation that has none. False if it has one by now, or is gone."""
    try:
        with changing(conversation_id) as change:
            seq = change.conversation.seq + 1
            won = Conversation.objects.filter(pk=conversation_id, title="").update(
                title=title[: limits.MAX_TITLE]
            )
            if not won:
                return False
            change.conversation.title = title[: limits.MAX_TITLE]
            change.conversation.changed_seq = change.next_seq()
            change.publish(
                ConversationUpdated(
                    conversation=conversation_id,
                    seq=seq,
                    state=conversation_state(change.conversation),
                )
            )
            change.touch()
            return True
    except NotFound:
        return False
