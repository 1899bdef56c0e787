"""Access tokens for REST: signed, unexpired, and of a session that was not revoked."""

from rest_framework_simplejwt.authentication import JWTAuthentication


class SessionJWTAuthentication(JWTAuthentication):
    """Bearer tokens."""
