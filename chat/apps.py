"""Conversations, members, messages, assistants and replies."""

from uuid import UUID

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Chat."""

    name = "chat"

    def ready(self) -> None:
        """Hear of ended sessions, whose open sockets must close."""
        from accounts.signals import session_revoked

        session_revoked.connect(_close_sockets, dispatch_uid="chat.apps")


def _close_sockets(sender: object, *, user_id: UUID, session_ids: list[UUID], **_: object) -> None:
    # The channel layer stands on models, which come after the apps.
    from core.publishing import publish_now, signed_out

    # Accounts sends this after its commit.
    publish_now(signed_out(user_id, session_ids))
