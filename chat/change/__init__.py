"""The one way to change a conversation: under its lock, stamped with its next `seq`."""

from chat.change.change import PURGE_TASK, Change, changing, conversation_of

__all__ = ["PURGE_TASK", "Change", "changing", "conversation_of"]
