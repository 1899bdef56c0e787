"""Pages of the inbox."""

from uuid import UUID

from core.pagination import Pages


class InboxPages(Pages):
    """Newest first. Keys are UUIDv7, so their order is that of creation."""

    ordering = "-id"
    page_size = 30
    max_page_size = 100

    def check_position(self, position: str) -> None:
        """Raise ValueError for what is no key."""
        UUID(position)
