"""Conversations, members, messages, assistants and replies."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Chat."""

    name = "chat"

    def ready(self) -> None:
        """Hear of ended sessions, whose open sockets must close."""
        from accounts.signals import session_revoked
        from chat.events import on_session_revoked

        session_revoked.connect(on_session_revoked, dispatch_uid="chat.socket.registry")
