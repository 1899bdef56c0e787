"""Sessions and their tokens: opening, rotating, revoking."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal
from uuid import UUID

import structlog
from django.contrib.auth import authenticate
from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts.errors import (
    InvalidCredentials,
    SessionRevoked,
    TokenExpired,
    TokenInvalid,
    UserInactive,
)
from accounts.models import Session, SessionQuerySet, User
from accounts.selectors import live_session
from accounts.services.locks import users_for_update
from accounts.signals import session_revoked
from accounts.tokens import (
    Claims,
    SessionRefreshToken,
    new_access_token,
    new_refresh_token,
    read_any_token,
    read_refresh_token,
)

logger = structlog.get_logger(__name__)

# How long a refresh token still answers after its successor, or another successor of the one
# before it, was used: two tabs of one browser may refresh at once. Later reuse means theft.
REFRESH_GRACE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A session's fresh pair of tokens."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    session: Session
    access_expires_at: datetime


def sign_in(*, login: str, password: str, user_agent: str = "") -> Tokens:
    """Open a session for whoever has this user name or e-mail address, and this password.

    Raises InvalidCredentials.
    """
    user = authenticate(username=login, password=password)
    if user is None:
        raise InvalidCredentials
    with transaction.atomic():
        # Slow hashing came before: the password may have been changed meanwhile, or the person
        # locked out, and their sessions revoked without this one.
        unchanged = users_for_update().filter(pk=user.pk, password=user.password)
        found = unchanged.active().with_accounts().first()
        if found is None:
            raise InvalidCredentials
        return open_session(user=found, user_agent=user_agent)


@transaction.atomic
def open_session(*, user: User, user_agent: str = "") -> Tokens:
    """Sign `user` in on one more device. Whoever calls has checked that it is them."""
    now = timezone.now()
    session = Session.objects.create(
        user=user,
        user_agent=user_agent.replace("\0", "")[:200],
        expires_at=now + SessionRefreshToken.lifetime,
    )
    User.objects.filter(pk=user.pk).update(last_login=now)
    return _sign_tokens(session)


def refresh(*, token: str) -> Tokens:
    """Rotate a refresh token: it is spent, and a fresh pair for the same session takes its place.

    As long as none of its successors was used, a spent token still gets a pair: its answer was
    lost, however long ago. Once one was used, the others and the spent token must be copies, but
    for REFRESH_GRACE, and nobody can tell whose: the whole session is revoked.
    Raises TokenExpired, TokenInvalid, SessionRevoked or UserInactive.
    """
    claims = read_refresh_token(token)
    tokens = _rotate(claims)
    if tokens is None:
        logger.warning("refresh_token_reused", session=str(claims.session_id))
        raise SessionRevoked
    return tokens


@transaction.atomic
def _rotate(claims: Claims) -> Tokens | None:
    """Return the next pair, or None after revoking the session of a token used twice."""
    # The lock makes racing refreshes of one session take turns.
    session = (
        Session.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(id=claims.session_id, user_id=claims.user_id)
        .first()
    )
    if session is None or session.revoked_at is not None:
        raise SessionRevoked
    if not session.user.is_active:
        raise UserInactive
    now = timezone.now()
    spent_at = _spent_at(claims.token_id)
    if spent_at is None and claims.after == session.spent:
        _spend(claims)
        session.spent = claims.token_id
    elif claims.token_id != session.spent:
        overtaken_at = spent_at or _spent_at(session.spent)
        if overtaken_at is None or now - overtaken_at > REFRESH_GRACE:
            _revoke(Session.objects.filter(pk=session.pk), session.user_id)
            return None
    session.expires_at = now + SessionRefreshToken.lifetime
    session.save(update_fields=["expires_at", "spent"])
    return _sign_tokens(session)


def verify(*, token: str) -> tuple[Literal["access", "refresh"], Claims]:
    """Say whether a token would be taken now; return its kind and its claims. Changes nothing.

    Raises TokenExpired, TokenInvalid, SessionRevoked or UserInactive.
    """
    kind, claims = read_any_token(token)
    session = live_session(claims)
    superseded = kind == "refresh" and claims.token_id != session.spent
    if superseded and _spent_at(claims.token_id) is not None:
        raise TokenInvalid
    return kind, claims


def revoke_session(*, session_id: UUID, user_id: UUID) -> None:
    """Sign one device out. Nothing happens if it was out already, or is another person's."""
    _revoke(Session.objects.filter(pk=session_id), user_id)


def revoke_all(*, user: User, keep: UUID | None = None) -> None:
    """Sign a person out everywhere, except of the session `keep`."""
    sessions = Session.objects.all() if keep is None else Session.objects.exclude(pk=keep)
    _revoke(sessions, user.pk)


def sign_out(*, token: str, everywhere: bool = False) -> None:
    """End the session of a refresh token, or all of its person's.

    One that expired or was revoked is out already, which is all that one device asks for.
    Raises TokenInvalid; with `everywhere`, which such a token cannot ask for, also TokenExpired,
    SessionRevoked or UserInactive.
    """
    try:
        claims = read_refresh_token(token)
    except TokenExpired:
        if everywhere:
            raise
        return
    if everywhere:
        revoke_all(user=live_session(claims).user)
    else:
        revoke_session(session_id=claims.session_id, user_id=claims.user_id)


def delete_expired_sessions() -> int:
    """Delete sessions and spent tokens that could no longer be used anyway; return how many.

    For a periodic job. A revoked session is kept until its tokens would have expired.
    """
    now = timezone.now()
    sessions, _ = Session.objects.filter(expires_at__lt=now).delete()
    # Their blacklist entries go with them.
    tokens, _ = OutstandingToken.objects.filter(expires_at__lt=now).delete()
    return sessions + tokens


def _sign_tokens(session: Session) -> Tokens:
    access, refresh_token = new_access_token(session), new_refresh_token(session)
    return Tokens(
        access=str(access),
        refresh=str(refresh_token),
        session=session,
        access_expires_at=datetime.fromtimestamp(access["exp"], tz=UTC),
    )


def _spent_at(token_id: str) -> datetime | None:
    """Return when a refresh token was spent; None if it was not."""
    spent = BlacklistedToken.objects.filter(token__jti=token_id)
    return spent.values_list("blacklisted_at", flat=True).first()


def _spend(claims: Claims) -> None:
    # Only now is a row needed, and never the token's text: who reads the table learns nothing.
    outstanding = OutstandingToken.objects.create(
        user_id=claims.user_id,
        jti=claims.token_id,
        token="",
        created_at=timezone.now(),
        expires_at=claims.expires_on,
    )
    BlacklistedToken.objects.create(token=outstanding)


@transaction.atomic
def _revoke(sessions: SessionQuerySet, user_id: UUID) -> None:
    """Revoke those of `sessions` that are the user's and live; say so once it is committed."""
    unrevoked = sessions.unrevoked().filter(user=user_id)
    ids = list(unrevoked.select_for_update().order_by("id").values_list("id", flat=True))
    if not ids:
        return
    Session.objects.filter(pk__in=ids).update(revoked_at=timezone.now())
    # Robust: they are revoked whether or not the sockets can be told.
    tell = partial(session_revoked.send_robust, sender=Session, user_id=user_id, session_ids=ids)
    transaction.on_commit(tell, robust=True)
