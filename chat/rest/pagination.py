"""Pages of conversations, assistants, members and reactions."""

from datetime import datetime

from core.pagination import Pages


class _ByTime(Pages):
    """Positions are points in time."""

    max_page_size = 100

    def check_position(self, position: str) -> None:
        """Raise ValueError for what is no point in time."""
        if datetime.fromisoformat(position).tzinfo is None:
            raise ValueError("a time without a zone")


class ByActivity(_ByTime):
    """Newest activity first."""

    page_size = 50
    ordering = ("-active_at", "-id")


class ByCreation(_ByTime):
    """Oldest first."""

    page_size = 100
    ordering = ("created_at", "id")


class ByJoining(_ByTime):
    """In joining order."""

    page_size = 100
    ordering = ("joined_at", "id")


class ByReacting(_ByTime):
    """The first given first."""

    page_size = 100
    ordering = ("created_at", "id")


class ByPinning(_ByTime):
    """The one pinned last first."""

    page_size = 50
    ordering = ("-pinned_at", "-id")


class ByNewest(_ByTime):
    """Newest first."""

    page_size = 50
    ordering = ("-created_at", "-id")


class ByRewording(_ByTime):
    """The first wording first."""

    page_size = 50
    ordering = ("at", "id")


class BySigningUp(_ByTime):
    """In the order in which people came."""

    page_size = 100
    ordering = ("date_joined", "id")


class ByUsername(Pages):
    """In the order of user names, which everyone has."""

    page_size = 20
    max_page_size = 100
    ordering = ("username", "id")

    def check_position(self, position: str) -> None:
        """Any text is a position."""
