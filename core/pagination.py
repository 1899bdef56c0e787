"""Pages of a list, by cursor; the same parameters for every list."""

from collections.abc import Callable
from typing import TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.rest import parse_query
from protocol.fields import Whole
from protocol.frames import Body

R = TypeVar("R", bound=Model)


class LimitQuery(Body):
    """How many rows are asked for."""

    limit: Whole | None = None


class Pages(CursorPagination):
    """A subclass says its order, its sizes, and what is no position in that order."""

    page_size: int
    max_page_size: int

    def get_page_size(self, request: Request) -> int:
        """Return how many rows a page has. Raises Invalid for a `limit` that is no whole number."""
        limit = parse_query(LimitQuery, request).limit
        return self.page_size if limit is None else min(max(limit, 1), self.max_page_size)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the cursor; refuse, as REST framework does not, one with no position of ours."""
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                self.check_position(str(cursor.position))
            except ValueError:
                raise NotFound(self.invalid_cursor_message) from None
        return cursor

    def check_position(self, position: str) -> None:
        """Raise ValueError for what is no position in this order."""
        raise NotImplementedError

    @classmethod
    def answer(
        cls, request: Request, view: APIView, rows: QuerySet[R], state: Callable[[R], BaseModel]
    ) -> Response:
        """Answer with the page that is asked for of these rows, each as its `state`."""
        pages = cls()
        page = pages.paginate_queryset(rows, request, view) or []
        return pages.get_paginated_response([state(row).model_dump(mode="json") for row in page])

    @classmethod
    def parameters(cls) -> list[OpenApiParameter]:
        """Return the parameters of `extend_schema`."""
        sizes = f"1 to {cls.max_page_size}, else {cls.page_size}"
        return [
            OpenApiParameter("cursor", str, description="From `next` or `previous`."),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 0},
                description=f"How many at most: {sizes}.",
            ),
        ]
