"""Deleting what has expired."""

from datetime import timedelta

from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts import services
from accounts.models import Session


def test_only_what_expired_is_deleted(alice, bob):
    kept, gone = services.open_session(user=alice), services.open_session(user=bob)
    services.refresh(token=kept.refresh)
    services.refresh(token=gone.refresh)
    past = timezone.now() - timedelta(seconds=1)
    Session.objects.filter(user=bob).update(expires_at=past)
    OutstandingToken.objects.filter(user=bob).update(expires_at=past)
    assert services.delete_expired_sessions() > 0
    assert list(Session.objects.values_list("id", flat=True)) == [kept.session.id]
    assert BlacklistedToken.objects.get().token.user_id == alice.id
    assert services.delete_expired_sessions() == 0


def test_revoked_session_stays_known_until_its_tokens_expire(alice):
    tokens = services.open_session(user=alice)
    services.revoke_all(user=alice)
    services.delete_expired_sessions()
    assert Session.objects.filter(pk=tokens.session.pk).exists()


def test_spent_token_is_still_known_as_spent_after_a_clean_up(alice, after_grace):
    tokens = services.open_session(user=alice)
    services.refresh(token=services.refresh(token=tokens.refresh).refresh)
    services.delete_expired_sessions()
    after_grace()
    try:
        services.refresh(token=tokens.refresh)
    except services.sessions.SessionRevoked:
        return
    raise AssertionError("a spent token was taken again")
