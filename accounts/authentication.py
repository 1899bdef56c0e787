"""Access tokens for REST: signed, unexpired, and of a session that was not revoked."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
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


def person(request: Request) -> User:
    """Return who asks. Raises NotAuthenticated if it is nobody."""
    return signed_in(request)[0]


def signed_in(request: Request) -> tuple[User, Claims]:
    """Return who asks, and what their token says. Raises NotAuthenticated if it is nobody."""
    if not isinstance(request.user, User) or not isinstance(request.auth, Claims):
        raise NotAuthenticated
    return request.user, request.auth
