"""The two JSON Web Tokens of a session: a short-lived access token and a rotating refresh token.

Both carry `user_id` and `sid`, the session they belong to. Reading one never asks the database.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, Token

from accounts.errors import TokenExpired, TokenInvalid
from accounts.models import Session

AnyToken = TypeVar("AnyToken", bound=Token)

# Far above what we issue (about 330 characters); anything longer is not worth decoding.
_MAX_LENGTH = 4096


class SessionRefreshToken(Token):
    """simplejwt's refresh token without its own blacklist query: `services.refresh` owns that."""

    token_type = "refresh"  # noqa: S105 - a kind of token, not one
    lifetime = api_settings.REFRESH_TOKEN_LIFETIME


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `expires_at` is in seconds since the epoch.

    `after` is the id of the refresh token that had been spent last when this one was made.
    """

    user_id: UUID
    session_id: UUID
    token_id: str
    expires_at: float
    after: str = ""

    @property
    def expires_on(self) -> datetime:
        """The expiry as an aware datetime."""
        return datetime.fromtimestamp(self.expires_at, tz=UTC)


def new_access_token(session: Session) -> AccessToken:
    """Return an unsigned access token of `session`; `str()` signs it."""
    return _of_session(AccessToken(), session)


def new_refresh_token(session: Session) -> SessionRefreshToken:
    """Return an unsigned refresh token of `session`; `str()` signs it."""
    token = _of_session(SessionRefreshToken(), session)
    token["after"] = session.spent
    return token


def read_access_token(token: str) -> Claims:
    """Verify an access token's signature, kind and expiry.

    Raises TokenExpired or TokenInvalid.
    """
    return _read(AccessToken, token)


def read_refresh_token(token: str) -> Claims:
    """Verify a refresh token's signature, kind and expiry, not whether it was rotated already.

    Raises TokenExpired or TokenInvalid.
    """
    return _read(SessionRefreshToken, token)


def read_any_token(token: str) -> tuple[Literal["access", "refresh"], Claims]:
    """Verify a token of either kind; return its kind, `access` or `refresh`, and its claims.

    Raises TokenExpired or TokenInvalid.
    """
    try:
        return "access", read_access_token(token)
    except TokenInvalid:
        return "refresh", read_refresh_token(token)


def bearer_token(header: str) -> str | None:
    """Return the token of an Authorization header, or None if it is of another scheme.

    Raises TokenInvalid for a Bearer header with no token or more than one.
    """
    scheme, *rest = header.split() or [""]
    if scheme.lower() != "bearer":
        return None
    if len(rest) != 1:
        raise TokenInvalid
    return rest[0]


def _of_session(token: AnyToken, session: Session) -> AnyToken:
    token[api_settings.USER_ID_CLAIM] = str(session.user_id)
    token["sid"] = str(session.id)
    return token


def _read(kind: type[Token], token: str) -> Claims:
    if len(token) > _MAX_LENGTH or not token.isascii():
        raise TokenInvalid
    try:
        payload: dict[str, Any] = kind(token).payload  # type: ignore[arg-type]
        return Claims(
            user_id=UUID(payload[api_settings.USER_ID_CLAIM]),
            session_id=UUID(payload["sid"]),
            token_id=str(payload["jti"]),
            expires_at=float(payload["exp"]),
            after=str(payload.get("after", "")),
        )
    except ExpiredTokenError:
        raise TokenExpired from None
    except (TokenError, KeyError, ValueError, TypeError, AttributeError):
        # The last four: signed by us, but not by this code (another claim set).
        raise TokenInvalid from None
