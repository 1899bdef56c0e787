"""Pages of the inbox."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class InboxPagination(CursorPagination):
    """Newest first. Keys are UUIDv7, so their order is that of creation."""

    ordering = "-id"
    page_size = 30
    page_size_query_param = "limit"
    max_page_size = 100

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the cursor; refuse, as REST framework does not, one that holds no key of ours."""
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                UUID(str(cursor.position))
            except ValueError as error:
                raise NotFound(self.invalid_cursor_message) from error
        return cursor


LIMIT = OpenApiParameter(
    InboxPagination.page_size_query_param,
    int,
    description=(
        f"How many at most: 1 to {InboxPagination.max_page_size}, else {InboxPagination.page_size}."
    ),
)
