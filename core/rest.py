"""How REST reads and answers: pydantic models in and out, and every error in the one shape."""

from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from drf_standardized_errors.formatter import flatten_errors
from drf_standardized_errors.handler import ExceptionHandler
from pydantic import BaseModel, ValidationError
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import ChatireError, Invalid, error_body
from protocol.errors import ErrorCode
from protocol.fields import field_errors, member_errors

M = TypeVar("M", bound=BaseModel)


def parse(body: type[M], data: Any) -> M:
    """Return a request's data as a `body`. Raises Invalid, naming each field, never its value."""
    if problems := member_errors(data):
        raise Invalid(fields=problems)
    try:
        return body.model_validate(data)
    except ValidationError as error:
        raise Invalid(fields=field_errors(error)) from None


def parse_query(query: type[M], request: Request) -> M:
    """Return those parameters of the address that `query` knows. Raises Invalid.

    One that is given twice counts once, the last; unknown ones are another's business.
    """
    given = request.query_params
    return parse(query, {name: given[name] for name in query.model_fields if name in given})


def answer(body: BaseModel, status: int = 200) -> Response:
    """Answer with a model."""
    return Response(body.model_dump(mode="json"), status=status)


class TooLarge(ChatireError):
    """A request body is longer than DATA_UPLOAD_MAX_MEMORY_SIZE, in bytes."""

    code = ErrorCode.TOO_LARGE
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
        headers = {"WWW-Authenticate": 'Bearer realm="api"'} if self.exc.status == 401 else {}
        if "retry_after" in self.exc.details:
            headers["Retry-After"] = str(self.exc.details["retry_after"])
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
        return error_body(_code_of(exc, first.code), first.detail, details)
    fields = [
        {"field": error.attr or "", "code": error.code, "message": error.detail} for error in errors
    ]
    return error_body(ErrorCode.INVALID, Invalid.default_message, {"fields": fields})


def _code_of(exc: exceptions.APIException, code: str) -> ErrorCode:
    """Return REST framework's code if it is one of ours, else what its status is called here."""
    ours = {one.value: one for one in ErrorCode}
    by_status = {401: ErrorCode.NOT_AUTHENTICATED, 403: ErrorCode.NOT_ALLOWED}
    return ours.get(code) or by_status.get(exc.status_code, ErrorCode.ERROR)
