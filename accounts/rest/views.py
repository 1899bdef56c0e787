"""REST for accounts, sessions and the person who asks."""

from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import services
from accounts.models import User
from accounts.rest.bodies import (
    ClaimSerializer,
    GuestSerializer,
    PasswordChangeSerializer,
    PasswordResetConfirmSerializer,
    PasswordResetSerializer,
    ProfileSerializer,
    RefreshSerializer,
    RegistrationSerializer,
    SignInSerializer,
    SignOutSerializer,
    TokensSerializer,
    UserSerializer,
)
from accounts.tokens import Claims
from core.schema import errors

S = TypeVar("S", bound=serializers.BaseSerializer[Any])


def _validated(serializer_class: type[S], request: Request) -> dict[str, Any]:
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    validated: dict[str, Any] = serializer.validated_data
    return validated


def _signed_in(user: User, request: Request) -> Response:
    tokens = services.open_session(user=user, user_agent=_user_agent(request))
    return Response(TokensSerializer(tokens).data, status=status.HTTP_201_CREATED)


def _user_agent(request: Request) -> str:
    return request.headers.get("User-Agent", "")


class OpenView(APIView):
    """For people who are not signed in, whatever token their client may still send."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class RegisterView(OpenView):
    """Making an account."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="register",
        tags=["auth"],
        request=RegistrationSerializer,
        responses={201: TokensSerializer, **errors(400, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Make an account and sign in to it."""
        return _signed_in(services.register(**_validated(RegistrationSerializer, request)), request)


class GuestView(OpenView):
    """Being here without an account."""

    throttle_scope = "guest"

    @extend_schema(
        operation_id="create_guest",
        tags=["auth"],
        request=GuestSerializer,
        responses={201: TokensSerializer, **errors(400, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Go on as a guest, who may claim an account later and keep everything."""
        return _signed_in(services.create_guest(**_validated(GuestSerializer, request)), request)


class TokenView(OpenView):
    """Signing in."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="sign_in",
        tags=["auth"],
        request=SignInSerializer,
        responses={200: TokensSerializer, **errors(400, 401, 429)},
    )
    def post(self, request: Request) -> Response:
        """Sign in with a user name or e-mail address, and a password."""
        given = _validated(SignInSerializer, request)
        tokens = services.sign_in(
            login=given["username"], password=given["password"], user_agent=_user_agent(request)
        )
        return Response(TokensSerializer(tokens).data)


class TokenRefreshView(OpenView):
    """Fresh tokens. Not throttled: whoever cannot refresh is signed out."""

    @extend_schema(
        operation_id="refresh_tokens",
        tags=["auth"],
        request=RefreshSerializer,
        responses={200: TokensSerializer, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """Spend a refresh token and get the next pair.

        If the answer is lost, the same token may be sent again, until its successor is used.
        After that, and 30 seconds, it counts as stolen and ends its session.
        """
        given = _validated(RefreshSerializer, request)
        return Response(TokensSerializer(services.refresh(token=given["refresh"])).data)


class TokenRevokeView(OpenView):
    """Signing out."""

    @extend_schema(
        operation_id="sign_out",
        tags=["auth"],
        request=SignOutSerializer,
        responses={204: None, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """End the session of a refresh token, its access tokens and sockets included, at once."""
        given = _validated(SignOutSerializer, request)
        services.sign_out(token=given["refresh"], everywhere=given["everywhere"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordChangeView(APIView):
    """Another password."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="change_password",
        tags=["auth"],
        request=PasswordChangeSerializer,
        responses={204: None, **errors(400, 401, 409, 429)},
    )
    def post(self, request: Request) -> Response:
        """Change the password; every other session ends, this one stays."""
        user, claims = _who(request)
        given = _validated(PasswordChangeSerializer, request)
        services.change_password(user=user, session_id=claims.session_id, **given)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetView(OpenView):
    """A forgotten password."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="request_password_reset",
        tags=["auth"],
        request=PasswordResetSerializer,
        responses={204: None, **errors(400, 429)},
    )
    def post(self, request: Request) -> Response:
        """Mail a reset link, if an account has this address; the answer is the same if not."""
        given = _validated(PasswordResetSerializer, request)
        site = request.build_absolute_uri("/").rstrip("/")
        services.request_password_reset(email=given["email"], site=site)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetConfirmView(OpenView):
    """The page behind a reset link."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="reset_password",
        tags=["auth"],
        request=PasswordResetConfirmSerializer,
        responses={204: None, **errors(400, 429)},
    )
    def post(self, request: Request) -> Response:
        """Set a password by a mailed link, once; every session ends."""
        services.reset_password(**_validated(PasswordResetConfirmSerializer, request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ClaimView(APIView):
    """From guest to account."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="claim_account",
        tags=["auth"],
        request=ClaimSerializer,
        responses={200: UserSerializer, **errors(400, 401, 403, 409, 429)},
    )
    def post(self, request: Request) -> Response:
        """Turn the guest who asks into an account. Their id and tokens stay the same."""
        user, _ = _who(request)
        claimed = services.claim_guest(user=user, **_validated(ClaimSerializer, request))
        return Response(UserSerializer(claimed).data)


class MeView(APIView):
    """The person who asks."""

    @extend_schema(
        operation_id="get_me", tags=["me"], responses={200: UserSerializer, **errors(401)}
    )
    def get(self, request: Request) -> Response:
        """Who am I?"""
        user, _ = _who(request)
        return Response(UserSerializer(user).data)

    @extend_schema(
        operation_id="update_me",
        tags=["me"],
        request=ProfileSerializer,
        responses={200: UserSerializer, **errors(400, 401)},
    )
    def patch(self, request: Request) -> Response:
        """Change what other people see."""
        user, _ = _who(request)
        given = _validated(ProfileSerializer, request)
        if "display_name" in given:
            user = services.rename_user(user=user, display_name=given["display_name"])
        return Response(UserSerializer(user).data)


def _who(request: Request) -> tuple[User, Claims]:
    """Return who asks, and by which session; only for views that let nobody else in."""
    assert isinstance(request.user, User)
    assert isinstance(request.auth, Claims)
    return request.user, request.auth
