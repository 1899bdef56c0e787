"""REST for accounts, sessions and the person who asks."""

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import services
from accounts.authentication import person, signed_in
from accounts.models import User
from accounts.rest import bodies
from accounts.rest.bodies import tokens_body, user_body
from core.rest import answer, parse
from core.schema import errors


def _first_session(user: User, request: Request) -> Response:
    tokens = services.open_session(user=user, user_agent=_user_agent(request))
    return answer(tokens_body(tokens), 201)


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
        request=bodies.Registration,
        responses={201: bodies.Tokens, **errors(400, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Make an account and sign in to it."""
        body = parse(bodies.Registration, request.data)
        return _first_session(services.register(**body.model_dump()), request)


class GuestView(OpenView):
    """Being here without an account."""

    throttle_scope = "guest"

    @extend_schema(
        operation_id="create_guest",
        tags=["auth"],
        request=bodies.Guest,
        responses={201: bodies.Tokens, **errors(400, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Go on as a guest, who may claim an account later and keep everything."""
        body = parse(bodies.Guest, request.data)
        return _first_session(services.create_guest(**body.model_dump()), request)


class TokenView(OpenView):
    """Signing in."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="sign_in",
        tags=["auth"],
        request=bodies.SignIn,
        responses={200: bodies.Tokens, **errors(400, 401, 429)},
    )
    def post(self, request: Request) -> Response:
        """Sign in with a user name or e-mail address, and a password."""
        body = parse(bodies.SignIn, request.data)
        tokens = services.sign_in(
            login=body.username, password=body.password, user_agent=_user_agent(request)
        )
        return answer(tokens_body(tokens))


class TokenRefreshView(OpenView):
    """Fresh tokens. Not throttled: whoever cannot refresh is signed out."""

    @extend_schema(
        operation_id="refresh_tokens",
        tags=["auth"],
        request=bodies.Refresh,
        responses={200: bodies.Tokens, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """Spend a refresh token and get the next pair.

        If the answer is lost, the same token may be sent again, until its successor is used.
        After that, and 30 seconds, it counts as stolen and ends its session.
        """
        body = parse(bodies.Refresh, request.data)
        return answer(tokens_body(services.refresh(token=body.refresh)))


class TokenVerifyView(OpenView):
    """Whether a token is good, as another service may want to know. Not throttled: see above."""

    @extend_schema(
        operation_id="verify_token",
        tags=["auth"],
        request=bodies.TokenToVerify,
        responses={200: bodies.VerifiedToken, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """Say whether an access or refresh token would be taken now; nothing is spent."""
        kind, claims = services.verify(token=parse(bodies.TokenToVerify, request.data).token)
        return answer(
            bodies.VerifiedToken(kind=kind, expires_at=claims.expires_on, user=claims.user_id)
        )


class TokenRevokeView(OpenView):
    """Signing out."""

    @extend_schema(
        operation_id="sign_out",
        tags=["auth"],
        request=bodies.SignOut,
        responses={204: None, **errors(400, 401)},
    )
    def post(self, request: Request) -> Response:
        """End the session of a refresh token, its access tokens and sockets included, at once."""
        body = parse(bodies.SignOut, request.data)
        services.sign_out(token=body.refresh, everywhere=body.everywhere)
        return Response(status=204)


class PasswordChangeView(APIView):
    """Another password."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="change_password",
        tags=["auth"],
        request=bodies.PasswordChange,
        responses={204: None, **errors(400, 401, 409, 429)},
    )
    def post(self, request: Request) -> Response:
        """Change the password; every other session ends, this one stays."""
        user, claims = signed_in(request)
        body = parse(bodies.PasswordChange, request.data)
        services.change_password(user=user, session_id=claims.session_id, **body.model_dump())
        return Response(status=204)


class PasswordResetView(OpenView):
    """A forgotten password."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="request_password_reset",
        tags=["auth"],
        request=bodies.PasswordReset,
        responses={204: None, **errors(400, 429)},
    )
    def post(self, request: Request) -> Response:
        """Mail a reset link, if an account has this address; the answer is the same if not."""
        body = parse(bodies.PasswordReset, request.data)
        site = request.build_absolute_uri("/").rstrip("/")
        services.request_password_reset(email=body.email, site=site)
        return Response(status=204)


class PasswordResetConfirmView(OpenView):
    """The page behind a reset link."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="reset_password",
        tags=["auth"],
        request=bodies.PasswordResetConfirm,
        responses={204: None, **errors(400, 429)},
    )
    def post(self, request: Request) -> Response:
        """Set a password by a mailed link, once; every session ends."""
        body = parse(bodies.PasswordResetConfirm, request.data)
        services.reset_password(**body.model_dump())
        return Response(status=204)


class ClaimView(APIView):
    """From guest to account."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="claim_account",
        tags=["auth"],
        request=bodies.Claim,
        responses={200: bodies.User, **errors(400, 401, 403, 409, 429)},
    )
    def post(self, request: Request) -> Response:
        """Turn the guest who asks into an account. Their id and tokens stay the same."""
        body = parse(bodies.Claim, request.data)
        claimed = services.claim_guest(user=person(request), **body.model_dump())
        return answer(user_body(claimed))


class MergeView(APIView):
    """From guest to an account that one has already."""

    throttle_scope = "auth"

    @extend_schema(
        operation_id="merge_guest",
        tags=["me"],
        request=bodies.Merge,
        responses={202: bodies.Merging, **errors(400, 401, 409, 429)},
    )
    def post(self, request: Request) -> Response:
        """Let all that a guest did be one's own; `accounts.merged` says when it is."""
        account = person(request)
        body = parse(bodies.Merge, request.data)
        guest = services.merge_guest(account=account, guest_token=body.guest)
        return answer(bodies.Merging(guest=guest.pk, account=account.pk), 202)


class MeView(APIView):
    """The person who asks."""

    @extend_schema(operation_id="get_me", tags=["me"], responses={200: bodies.User, **errors(401)})
    def get(self, request: Request) -> Response:
        """Who am I?"""
        return answer(user_body(person(request)))

    @extend_schema(
        operation_id="update_me",
        tags=["me"],
        request=bodies.Profile,
        responses={200: bodies.User, **errors(400, 401)},
    )
    def patch(self, request: Request) -> Response:
        """Change what other people see."""
        user = person(request)
        body = parse(bodies.Profile, request.data)
        if "display_name" in body.model_fields_set:
            user = services.rename_user(user=user, display_name=body.display_name)
        return answer(user_body(user))
