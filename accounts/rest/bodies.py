"""What REST takes and answers about accounts. The rules are the model's and the services'."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from accounts import models, services
from protocol.fields import STORABLE
from protocol.frames import Body


def _valid_by(validate: Callable[[str], None]) -> AfterValidator:
    """Have one of Django's validators look at what is not empty; its code and message stay."""

    def check(value: str) -> str:
        try:
            if value:
                validate(value)
        except ValidationError as error:
            raise PydanticCustomError(error.code or "invalid", " ".join(error.messages)) from None
        return value

    return AfterValidator(check)


def _trimmed(shortest: int, longest: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=shortest, max_length=longest)


Username = Annotated[
    str,
    _trimmed(1, 150),
    Field(description="Letters, digits and `.` `+` `-` `_`."),
    _valid_by(models.validate_username),
    STORABLE,
]
# As it was typed, spaces around it included.
Password = Annotated[
    str,
    Field(
        min_length=1,
        max_length=services.PASSWORD_MAX_LENGTH,
        repr=False,
        json_schema_extra={"writeOnly": True},
    ),
    STORABLE,
]
Email = Annotated[
    str,
    _trimmed(1, 254),
    Field(json_schema_extra={"format": "email"}),
    _valid_by(validate_email),
    STORABLE,
]
EmailOrNone = Annotated[
    str,
    _trimmed(0, 254),
    Field(description="Empty if there is none."),
    _valid_by(validate_email),
    STORABLE,
]
DisplayName = Annotated[
    str,
    _trimmed(0, 80),
    Field(description="What other people see; empty: the user name."),
    STORABLE,
]
RefreshToken = Annotated[str, _trimmed(1, 4096), Field(repr=False), STORABLE]


class _Request(Body, hide_input_in_errors=True):
    """What was sent is in no error."""


class Account(_Request):
    """What an account is made of."""

    username: Username
    password: Password
    email: EmailOrNone = ""


class Registration(Account):
    """A new account."""

    display_name: DisplayName = ""


class Claim(Account):
    """The account a guest becomes."""


class Merge(_Request):
    """The guest whom an account takes over, shown by a token of theirs of either kind."""

    guest: RefreshToken


class Merging(Body):
    """Who becomes one: what the guest did is moved to the account, and both are told."""

    guest: UUID
    account: UUID


class Guest(_Request):
    """A new guest."""

    display_name: DisplayName = ""


class SignIn(_Request):
    """Who signs in."""

    username: Annotated[
        str,
        _trimmed(1, 254),
        Field(description="A user name or e-mail address."),
        STORABLE,
    ]
    password: Password


class Refresh(_Request):
    """A refresh token to spend."""

    refresh: RefreshToken


class TokenToVerify(_Request):
    """An access or a refresh token."""

    token: RefreshToken


class VerifiedToken(Body):
    """What a token that is taken is."""

    kind: Literal["access", "refresh"]
    expires_at: datetime
    user: UUID


class SignOut(Refresh):
    """A session to end."""

    everywhere: bool = Field(
        False, description="End every session of this person, not only this one."
    )


class PasswordChange(_Request):
    """The present password and the next."""

    current_password: Password
    new_password: Password


class PasswordReset(_Request):
    """Where to mail a reset link."""

    email: Email


class PasswordResetConfirm(_Request):
    """What a reset link carries, and the next password."""

    uid: Annotated[str, _trimmed(1, 100), STORABLE]
    token: Annotated[str, _trimmed(1, 200), Field(repr=False), STORABLE]
    new_password: Password


class Profile(_Request):
    """What people may change about themselves; what is absent stays as it is."""

    # A factory, as the schema would tell a default.
    display_name: DisplayName = Field(default_factory=str)


class User(Body):
    """A person as they see themselves."""

    id: UUID
    username: str
    name: str = Field(description="What other people see.")
    email: str = Field(description="Empty if there is none.")
    is_guest: bool


class Tokens(Body):
    """A session's tokens, and whose it is."""

    access: str = Field(repr=False, description="For `Authorization: Bearer`, until it expires.")
    refresh: str = Field(
        repr=False, description="For one refresh, which answers with the next one."
    )
    access_expires_at: datetime
    user: User


def user_body(user: models.User) -> User:
    """Return a person as they see themselves."""
    return User(
        id=user.pk,
        username=user.username,
        name=user.name,
        email=user.email,
        is_guest=user.is_guest,
    )


def tokens_body(tokens: services.Tokens) -> Tokens:
    """Return a fresh pair of tokens as their session's device gets it."""
    return Tokens(
        access=tokens.access,
        refresh=tokens.refresh,
        access_expires_at=tokens.access_expires_at,
        user=user_body(tokens.session.user),
    )
