"""Pages of conversations, assistants and members."""

from datetime import datetime

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class _ByTime(CursorPagination):
    """Positions are points in time."""

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the cursor; refuse, as REST framework does not, one that holds no time of ours."""
        cursor: Cursor | None = super().decode_cursor(request)
        if (
            cursor is not None
            and cursor.position is not None
            and not _is_time(str(cursor.position))
        ):
            raise NotFound(self.invalid_cursor_message)
        return cursor


def _is_time(position: str) -> bool:
    try:
        return datetime.fromisoformat(position).tzinfo is not None
    except ValueError:
        return False


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
