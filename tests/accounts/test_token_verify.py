"""POST /api/auth/token/verify/"""

import pytest

from accounts import services
from accounts.models import Session

URL = "/api/auth/token/verify/"


@pytest.fixture
def tokens(alice):
    return services.open_session(user=alice)


@pytest.fixture
def verify(api):
    def post(token):
        answered = api().post(URL, {"token": token})
        return answered.status_code, answered.json()

    return post


def test_a_good_token_is_told_with_its_kind_and_whose_it_is(alice, tokens, verify):
    status, access = verify(tokens.access)
    assert (status, access["kind"], access["user"]) == (200, "access", str(alice.pk))
    status, refresh = verify(tokens.refresh)
    assert (status, refresh["kind"], refresh["user"]) == (200, "refresh", str(alice.pk))
    assert access["expires_at"] < refresh["expires_at"]


def test_verifying_spends_and_changes_nothing(tokens, verify):
    before = Session.objects.values().get()
    verify(tokens.refresh)
    assert Session.objects.values().get() == before
    assert services.refresh(token=tokens.refresh)


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_an_expired_token_is_refused(tokens, verify, expired, kind):
    status, body = verify(expired(tokens.session, kind))
    assert (status, body["code"]) == (401, "token_expired")


@pytest.mark.parametrize("token", ["x", "a.b.c", "." * 100])
def test_what_is_no_token_of_ours_is_refused(db, verify, token):
    status, body = verify(token)
    assert (status, body["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_of_a_session_that_was_ended_is_refused(tokens, verify, kind):
    services.sign_out(token=tokens.refresh)
    status, body = verify(getattr(tokens, kind))
    assert (status, body["code"]) == (401, "session_revoked")


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_of_who_was_deactivated_is_refused(alice, tokens, verify, kind):
    type(alice).objects.filter(pk=alice.pk).update(is_active=False)
    status, body = verify(getattr(tokens, kind))
    assert (status, body["code"]) == (401, "user_inactive")


def test_a_refresh_token_is_good_until_its_successor_was_used(tokens, verify):
    second = services.refresh(token=tokens.refresh)
    assert verify(tokens.refresh)[0] == 200
    services.refresh(token=second.refresh)
    status, body = verify(tokens.refresh)
    assert (status, body["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": 7}, {"token": "x" * 5000}])
def test_a_request_without_a_token_is_invalid(db, api, body):
    answered = api().post(URL, body)
    assert answered.status_code == 400
    assert [field["field"] for field in answered.json()["details"]["fields"]] == ["token"]
