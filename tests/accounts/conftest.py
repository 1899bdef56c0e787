"""What tests of accounts share."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken
from rest_framework_simplejwt.tokens import Token

from accounts import services
from accounts.models import Session, User
from accounts.signals import session_revoked
from accounts.tokens import new_access_token, new_refresh_token


@pytest.fixture
def guest(db: None) -> User:
    return services.create_guest(display_name="Gwen")


@pytest.fixture
def revocations() -> list[tuple[object, list[object]]]:
    """What `session_revoked` has said: pairs of user id and session ids."""
    heard = []

    def listen(sender, user_id, session_ids, **kwargs):
        heard.append((user_id, session_ids))

    session_revoked.connect(listen)
    yield heard
    session_revoked.disconnect(listen)


@pytest.fixture
def expired() -> Callable[[Session, str], str]:
    """`expired(session, kind)`: a well signed `access` or `refresh` token that ran out."""

    def make(session: Session, kind: str) -> str:
        token: Token = {"access": new_access_token, "refresh": new_refresh_token}[kind](session)
        token.set_exp(lifetime=-timedelta(seconds=1))
        return str(token)

    return make


@pytest.fixture
def after_grace() -> Callable[[], None]:
    """Make every spent refresh token spent for longer than reuse is forgiven."""

    def age() -> None:
        past = timezone.now() - services.REFRESH_GRACE - timedelta(seconds=1)
        BlacklistedToken.objects.update(blacklisted_at=past)

    return age
