"""Every write to people, guests and their sessions."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import transaction
from django.utils import timezone

from accounts.models import Session, User
from accounts.tokens import SessionRefreshToken, new_access_token, new_refresh_token


@dataclass(frozen=True, slots=True)
class Tokens:
    """A session's fresh pair of tokens."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    session: Session
    access_expires_at: datetime


def _sign_tokens(session: Session) -> Tokens:
    access, refresh = new_access_token(session), new_refresh_token(session)
    return Tokens(
        access=str(access),
        refresh=str(refresh),
        session=session,
        access_expires_at=datetime.fromtimestamp(access["exp"], tz=UTC),
    )


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
