"""Conversations, members, messages, assistants and replies."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Chat."""

    name = "chat"
