"""Access tokens for REST: signed, unexpired, and of a session that was not revoked."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.models import User
from accounts.selectors import live_session
from accounts.tokens import Claims, bearer_token, read_access_token


class SessionJWTAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; one query a request.

    `request.auth` is the token's `Claims`.
    """

    def authenticate(self, request: Request) -> tuple[User, Claims] | None:
        """Return the token's user and claims, or None where no bearer token was sent.

        Raises TokenInvalid, TokenExpired, SessionRevoked or UserInactive.
        """
        token = bearer_token(request.headers.get("Authorization", ""))
        if token is None:
            return None
        claims = read_access_token(token)
        return live_session(claims).user, claims

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401, without which DRF would answer 403."""
        return 'Bearer realm="api"'
