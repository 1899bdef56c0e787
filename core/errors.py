"""The one error shape, `{code, message, details}`, and the errors everyone shares.

Free of REST framework, which imports the authentication classes that raise these.
`core.rest` answers with them.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found

from protocol.errors import ErrorCode

logger = structlog.get_logger(__name__)

# Seconds after which a client may try again while the database is away.
RETRY_AFTER = 2


class ChatireError(Exception):
    """Something a caller did that has a stated answer. `message` is safe to show to people."""

    code: ClassVar[ErrorCode]
    default_message: ClassVar[str] = "The request could not be carried out."

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or self.default_message
        self.details = details
        super().__init__(self.message)

    @property
    def status(self) -> int:
        """The status of an answer over HTTP."""
        return self.code.status or 400

    def as_dict(self) -> dict[str, Any]:
        """Return the error as it goes to clients, over HTTP and over the socket."""
        return {"code": self.code, "message": self.message, "details": self.details}


class NotFound(ChatireError):
    """The thing does not exist, or the caller may not know that it does."""

    code = ErrorCode.NOT_FOUND
    default_message = "There is no such thing, or you may not see it."


class NotAllowed(ChatireError):
    """The caller may see the thing but not do this to it."""

    code = ErrorCode.NOT_ALLOWED
    default_message = "You may not do that."


class Invalid(ChatireError):
    """A value is missing, of the wrong kind or out of range."""

    code = ErrorCode.INVALID
    default_message = "A value is missing or not acceptable."

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str = "",
        fields: Sequence[dict[str, str]] = (),
    ) -> None:
        """`fields` is what is wrong, or else `message` is, about `field` (none: the whole)."""
        problem = {
            "field": field,
            "code": self.code.value,
            "message": message or self.default_message,
        }
        super().__init__(message, fields=list(fields) or [problem])


class Conflict(ChatireError):
    """The thing is not in a state in which this can be done."""

    code = ErrorCode.CONFLICT
    default_message = "That cannot be done in the present state."


def error_body(
    code: ErrorCode, message: str, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return an error in the shape every edge answers with."""
    return {"code": code, "message": message, "details": details or {}}


def unavailable_response() -> JsonResponse:
    """Return the 503 that tells a client to come back when the database does."""
    body = error_body(ErrorCode.UNAVAILABLE, "The service is briefly unavailable. Try again.")
    return JsonResponse(body, status=503, headers={"Retry-After": str(RETRY_AFTER)})


def no_such_page(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404 where no route leads, under /api/ in the one shape."""
    if request.path.startswith("/api/"):
        return JsonResponse(NotFound().as_dict(), status=404)
    return page_not_found(request, exception)


class DatabaseDownMiddleware:
    """Answer 503 with Retry-After, not 500, while Postgres cannot be reached."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Translate a lost or refused connection; leave everything else to Django."""
        if isinstance(exception, OperationalError | InterfaceError):
            logger.warning("database_unavailable", path=request.path)
            return unavailable_response()
        return None
