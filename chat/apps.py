"""Conversations, members, messages, assistants and replies."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.apps import AppConfig

if TYPE_CHECKING:
    from accounts.models import User


class ChatConfig(AppConfig):
    """Chat."""

    name = "chat"

    def ready(self) -> None:
        """Hear of ended sessions, of guests' names, and of people who cannot own rooms any more."""
        from django.db.models.signals import pre_delete

        from accounts.signals import (
            accounts_merging,
            guest_renaming,
            session_revoked,
            user_deactivated,
        )

        session_revoked.connect(_close_sockets, dispatch_uid="chat.apps")
        guest_renaming.connect(_check_name, dispatch_uid="chat.apps")
        user_deactivated.connect(_hand_over, dispatch_uid="chat.apps")
        accounts_merging.connect(_merge, dispatch_uid="chat.apps")
        pre_delete.connect(_hand_over_now, "accounts.User", dispatch_uid="chat.apps")


def _close_sockets(sender: object, *, user_id: UUID, session_ids: list[UUID], **_: object) -> None:
    # The channel layer stands on models, which come after the apps.
    from core.publishing import publish_now, signed_out

    # Accounts sends this after its commit.
    publish_now(signed_out(user_id, session_ids))


def _check_name(sender: object, *, user: "User", **_: object) -> None:
    from chat.services.members import require_own_names

    require_own_names(user=user)


def _hand_over(sender: object, *, user_id: UUID, **_: object) -> None:
    from chat.services.members import hand_over_later

    hand_over_later(user_id=user_id)


def _hand_over_now(sender: object, *, instance: "User", **_: object) -> None:
    from chat.services.members import hand_over_rooms

    hand_over_rooms(user_id=instance.pk)


def _merge(sender: object, *, guest_id: UUID, **_: object) -> None:
    from chat.services.merging import merge_later

    merge_later(guest_id=guest_id)
