"""The names of the channel layer's groups. Nothing else builds one."""

from uuid import UUID


def user_group(user_id: UUID) -> str:
    """The group of every socket of one person."""
    return f"user.{user_id.hex}"


def conversation_group(conversation_id: UUID) -> str:
    """The group of every socket that follows a conversation."""
    return f"conversation.{conversation_id.hex}"
