"""How REST answers errors: ours, REST framework's and Django's, in the one shape."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from drf_standardized_errors.formatter import flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.response import Response

from core.errors import ChatireError, Invalid, error_body


class TooLarge(ChatireError):
    """A request body is longer than DATA_UPLOAD_MAX_MEMORY_SIZE, in bytes."""

    code = "too_large"
    status = 413
    default_message = "The request is too large."


class _Handler(ExceptionHandler):
    def run(self) -> Response | None:
        if isinstance(self.exc, OperationalError | InterfaceError):
            return None  # DatabaseDownMiddleware answers 503; as an APIException it would be 500.
        if isinstance(self.exc, RequestDataTooBig):
            self.exc = TooLarge(limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        if not isinstance(self.exc, ChatireError):
            return super().run()
        self.set_rollback()
        # RFC 9110, 15.5.2: a 401 says how to authenticate.
        headers = {"WWW-Authenticate": 'Bearer realm="api"'} if self.exc.status == 401 else None
        return Response(self.exc.as_dict(), status=self.exc.status, headers=headers)

    def format_exception(self, exc: exceptions.APIException) -> dict[str, Any]:
        return format_api_exception(exc)


def exception_handler(exc: Exception, context: Any) -> Response | None:
    """Answer `exc`; None leaves it to Django."""
    return _Handler(exc, context).run()


def format_api_exception(exc: exceptions.APIException) -> dict[str, Any]:
    """Return `exc` in the one shape; a validation error lists its fields in details."""
    errors = flatten_errors(exc.detail)
    first = errors[0]
    if not isinstance(exc, exceptions.ValidationError):
        details: dict[str, Any] = {}
        if isinstance(exc, exceptions.Throttled):
            details["retry_after"] = getattr(exc, "wait", None)
        return error_body(first.code, first.detail, details)
    fields = [
        {"field": error.attr, "code": error.code, "message": error.detail} for error in errors
    ]
    return error_body("invalid", Invalid.default_message, {"fields": fields})
