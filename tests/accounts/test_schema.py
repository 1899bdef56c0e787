"""The OpenAPI document the typed client is generated from."""

import pytest
from drf_spectacular.generators import SchemaGenerator

ERROR = "#/components/schemas/Error"
# Open to everyone, so they ask for no token.
OPEN = {
    "register",
    "create_guest",
    "sign_in",
    "refresh_tokens",
    "verify_token",
    "sign_out",
    "request_password_reset",
    "reset_password",
}
# Others answer under /api/me/, too.
OWN = {"/api/me/", "/api/me/merge/"}
SIGNED_IN = {"claim_account", "change_password", "get_me", "merge_guest", "update_me"}


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


@pytest.fixture(scope="module")
def operations(document):
    return {
        operation["operationId"]: operation
        for path, methods in document["paths"].items()
        if path.startswith("/api/auth/") or path in OWN
        for operation in methods.values()
    }


def test_operations_have_names_of_their_own(operations):
    assert set(operations) == OPEN | SIGNED_IN


def test_every_error_has_the_one_shape(operations):
    for name, operation in operations.items():
        errors = {
            status: answer for status, answer in operation["responses"].items() if status > "3"
        }
        assert errors, name
        for status, answer in errors.items():
            schema = answer["content"]["application/json"]["schema"]
            assert schema == {"$ref": ERROR}, (name, status)


def test_tokens_are_asked_for_where_they_are_needed(document, operations):
    assert document["components"]["securitySchemes"]["bearer"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    for name, operation in operations.items():
        assert operation["security"] == ([{}] if name in OPEN else [{"bearer": []}]), name
        assert ("401" in operation["responses"]) >= (name in SIGNED_IN), name


def test_passwords_and_tokens_are_never_answered_with(document):
    schemas = document["components"]["schemas"]
    assert set(schemas["User"]["properties"]) == {"id", "username", "name", "email", "is_guest"}
    assert set(schemas["Tokens"]["properties"]) == {
        "access",
        "refresh",
        "access_expires_at",
        "user",
    }
