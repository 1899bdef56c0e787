"""The one shape of errors, and the codes that it may carry."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from rest_framework import exceptions
from rest_framework.test import APIClient

from accounts import errors as accounts_errors
from accounts.models import User
from chat.llm import ModelError
from chat.replies.prompt import CannotAsk
from chat.socket import handlers
from core import rest
from core.errors import ChatireError, Invalid
from core.rest import exception_handler, format_api_exception
from protocol.errors import ErrorCode, ReplyError
from tests.protocol.frames import require_error

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "chat", "chatire", "core", "notifications", "protocol")
assert accounts_errors
assert handlers
assert rest


def below(base: type) -> Iterator[type]:
    """Every class that derives from another."""
    for one in base.__subclasses__():
        yield one
        yield from below(one)


def test_every_error_has_a_code_of_its_own() -> None:
    errors = [one for one in below(ChatireError) if one.__module__.split(".")[0] in APPS]
    codes = [one.code for one in errors]
    assert all(type(code) is ErrorCode for code in codes)
    assert len(set(codes)) == len(codes) > 15


def test_every_fault_of_a_model_has_a_code_of_its_own() -> None:
    codes = [ModelError.code, *(one.code for one in below(ModelError))]
    assert all(type(code) is ReplyError for code in codes)
    assert len(set(codes)) == len(codes) > 15


@pytest.mark.parametrize("enum", ["ErrorCode", "ReplyError"])
def test_every_code_that_is_documented_is_used(enum: str) -> None:
    used = {
        node.attr
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == enum
    }
    declared = {"ErrorCode": ErrorCode, "ReplyError": ReplyError}[enum]
    assert used <= set(declared.__members__)
    of_rest_framework = {
        one.default_code for one in below(exceptions.APIException) if hasattr(one, "default_code")
    }
    assert {
        code for code in declared if code.name not in used and code.value not in of_rest_framework
    } == set()


@pytest.mark.parametrize("field_named", [False, True])
def test_what_is_invalid_is_always_listed(field_named: bool) -> None:
    error = Invalid("Not so.", field="title") if field_named else Invalid("Not so.")
    assert error.as_dict() == {
        "code": "invalid",
        "message": "Not so.",
        "details": {
            "fields": [
                {
                    "field": "title" if field_named else "",
                    "code": "invalid",
                    "message": "Not so.",
                }
            ]
        },
    }
    assert Invalid().details["fields"][0]["message"] == Invalid.default_message


@pytest.mark.parametrize(
    "error",
    [
        exceptions.APIException(),
        exceptions.APIException("x", code="of_its_own"),
        exceptions.AuthenticationFailed(),
        exceptions.MethodNotAllowed("PUT"),
        exceptions.NotAcceptable(),
        exceptions.NotAuthenticated(),
        exceptions.NotFound(),
        exceptions.ParseError(),
        exceptions.PermissionDenied(),
        exceptions.Throttled(3.0),
        exceptions.UnsupportedMediaType("text/plain"),
        exceptions.ValidationError({"title": ["Too long.", "Too dull."]}),
        exceptions.ValidationError("No."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_rest_framework_raises_has_a_documented_code(error: exceptions.APIException) -> None:
    body = format_api_exception(error)
    require_error(body)
    assert ErrorCode(body["code"]).status == error.status_code


def test_a_refusal_of_djangos_is_not_allowed() -> None:
    answer = exception_handler(PermissionDenied("secret"), {})
    assert answer is not None
    assert (answer.status_code, answer.data["code"]) == (403, "not_allowed")
    assert "secret" not in str(answer.data)


def test_a_reply_that_cannot_be_asked_for_says_why() -> None:
    assert str(CannotAsk(ReplyError.TURN_GONE)) == "turn_gone"


@pytest.mark.parametrize(
    ("method", "headers", "code"),
    [
        ("put", {}, "method_not_allowed"),
        ("get", {"HTTP_ACCEPT": "application/xml"}, "not_acceptable"),
    ],
)
def test_what_an_address_does_not_do_is_said(
    api: Callable[..., APIClient], alice: User, method: str, headers: dict[str, str], code: str
) -> None:
    answer = getattr(api(alice), method)("/api/conversations/", **headers)
    assert answer.json()["code"] == code
