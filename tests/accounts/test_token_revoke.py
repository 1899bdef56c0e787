"""POST /api/auth/token/revoke/"""

import pytest
from django.db import transaction

from accounts import services

URL = "/api/auth/token/revoke/"


@pytest.fixture
def tokens(alice):
    return services.open_session(user=alice)


@pytest.fixture
def sign_out(api, django_capture_on_commit_callbacks):
    def post(token, **more):
        with django_capture_on_commit_callbacks(execute=True):
            return api().post(URL, {"refresh": token, **more})

    return post


def live(user):
    return set(user.sessions.filter(revoked_at=None).values_list("id", flat=True))


def test_signing_out_ends_the_session_and_tells_its_sockets(
    api, alice, tokens, sign_out, revocations
):
    other = services.open_session(user=alice)
    assert sign_out(tokens.refresh).status_code == 204
    assert live(alice) == {other.session.id}
    assert revocations == [(alice.id, [tokens.session.id])]
    refreshed = api().post("/api/auth/token/refresh/", {"refresh": tokens.refresh})
    assert refreshed.json()["code"] == "session_revoked"


def test_signing_out_twice_is_signing_out(tokens, sign_out, revocations):
    assert [sign_out(tokens.refresh).status_code for _ in range(2)] == [204, 204]
    assert len(revocations) == 1


def test_signing_out_needs_no_fresh_token(alice, tokens, sign_out, after_grace):
    services.refresh(token=tokens.refresh)
    after_grace()
    assert sign_out(tokens.refresh).status_code == 204
    assert live(alice) == set()


def test_expired_token_is_signed_out_already(alice, tokens, sign_out, expired):
    assert sign_out(expired(tokens.session, "refresh")).status_code == 204
    assert live(alice) == {tokens.session.id}


def test_signing_out_everywhere_ends_every_session_of_that_person(
    alice, bob, tokens, sign_out, revocations
):
    services.open_session(user=alice)
    services.open_session(user=bob)
    ids = live(alice)
    assert sign_out(tokens.refresh, everywhere=True).status_code == 204
    assert live(alice) == set()
    assert len(live(bob)) == 1
    assert [(user, set(sessions)) for user, sessions in revocations] == [(alice.id, ids)]


@pytest.mark.parametrize("state", ["expired", "revoked"])
def test_dead_token_cannot_sign_out_everywhere(alice, tokens, sign_out, expired, state):
    other = services.open_session(user=alice)
    token = tokens.refresh
    if state == "expired":
        token = expired(tokens.session, "refresh")
    else:
        services.revoke_session(session_id=tokens.session.id, user_id=alice.id)
    response = sign_out(token, everywhere=True)
    assert response.status_code == 401
    assert other.session.id in live(alice)


@pytest.mark.parametrize("kind", ["access", "nonsense"])
def test_what_is_no_refresh_token_is_refused(alice, tokens, sign_out, kind):
    response = sign_out({"access": tokens.access, "nonsense": "x"}[kind])
    assert response.status_code == 401
    assert response.json()["code"] == "token_invalid"
    assert live(alice) == {tokens.session.id}


def test_nobody_revokes_anothers_session(alice, bob, tokens):
    services.revoke_session(session_id=tokens.session.id, user_id=bob.id)
    assert live(alice) == {tokens.session.id}


def test_deactivation_ends_and_tells_every_session_of_one_person(
    alice, bob, tokens, revocations, django_capture_on_commit_callbacks
):
    other = services.open_session(user=alice)
    bobs = services.open_session(user=bob)
    with django_capture_on_commit_callbacks(execute=True):
        services.deactivate_user(user=alice)
    assert live(alice) == set()
    assert live(bob) == {bobs.session.id}
    bob.refresh_from_db()
    assert bob.is_active
    assert [(user, set(sessions)) for user, sessions in revocations] == [
        (alice.id, {tokens.session.id, other.session.id})
    ]


def test_nothing_is_told_of_a_revocation_that_rolled_back(
    alice, tokens, revocations, django_capture_on_commit_callbacks
):
    def revoke_and_roll_back():
        with transaction.atomic():
            services.revoke_all(user=alice)
            transaction.set_rollback(True)

    with django_capture_on_commit_callbacks(execute=True):
        revoke_and_roll_back()
    assert revocations == []
    assert live(alice) == {tokens.session.id}


@pytest.mark.django_db(transaction=True)
def test_listener_that_fails_does_not_undo_a_revocation(alice, tokens):
    from accounts.signals import session_revoked

    def fail(sender, **kwargs):
        raise RuntimeError("the layer is away")

    session_revoked.connect(fail)
    try:
        services.revoke_all(user=alice)
    finally:
        session_revoked.disconnect(fail)
    assert live(alice) == set()
