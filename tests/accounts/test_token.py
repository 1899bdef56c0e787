"""POST /api/auth/token/"""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.hashers import make_password

from accounts import services
from accounts.errors import InvalidCredentials
from accounts.models import Session, User
from accounts.tokens import read_refresh_token
from tests.conftest import PASSWORD

URL = "/api/auth/token/"


def assert_refused(response):
    assert response.status_code == 401
    assert response.json()["code"] == "invalid_credentials"
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    "login", ["alice", "ALICE", "ａｌｉｃｅ", "alice@example.org", "Alice@EXAMPLE.org", " alice "]
)
def test_username_or_address_signs_in(api, alice, login):
    response = api().post(URL, {"username": login, "password": PASSWORD})
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"access", "refresh", "access_expires_at", "user"}
    assert body["user"]["id"] == str(alice.id)
    me = api().get("/api/me/", headers={"Authorization": f"Bearer {body['access']}"})
    assert me.json()["username"] == "alice"


def test_expiry_is_told_in_iso_and_lies_ahead(api, alice, settings):
    before = datetime.now(UTC)
    body = api().post(URL, {"username": "alice", "password": PASSWORD}).json()
    lifetime = settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"]
    expires_at = datetime.fromisoformat(body["access_expires_at"])
    assert abs((expires_at - before - lifetime).total_seconds()) < 30


def test_each_sign_in_is_a_session_of_its_own(api, alice):
    for _ in range(2):
        api().post(URL, {"username": "alice", "password": PASSWORD})
    assert alice.sessions.count() == 2


def test_signing_in_is_remembered_of_whoever_did(api, alice, bob):
    api().post(URL, {"username": "alice", "password": PASSWORD})
    alice.refresh_from_db()
    bob.refresh_from_db()
    assert alice.last_login is not None
    assert bob.last_login is None


@pytest.mark.parametrize("password", ["wrong", PASSWORD.upper(), f" {PASSWORD}", "x\u0000"])
def test_wrong_password_is_refused(api, alice, password):
    response = api().post(URL, {"username": "alice", "password": password})
    if "\0" in password:
        assert response.status_code == 400
    else:
        assert_refused(response)


@pytest.mark.parametrize("login", ["nobody", "nobody@example.org", "@", "alice@", "%", "ali_e"])
def test_unknown_name_is_refused_alike(api, alice, login):
    assert_refused(api().post(URL, {"username": login, "password": PASSWORD}))


def test_another_persons_password_is_refused(api, alice, bob):
    bob.set_password("bobs-own-password")
    bob.save()
    assert_refused(api().post(URL, {"username": "bob", "password": PASSWORD}))


def test_deactivated_person_is_refused(api, alice):
    services.deactivate_user(user=alice)
    assert_refused(api().post(URL, {"username": "alice", "password": PASSWORD}))


def test_guest_cannot_sign_in_by_password(api, guest):
    User.objects.filter(pk=guest.pk).update(password=make_password(PASSWORD))
    assert_refused(api().post(URL, {"username": guest.username, "password": PASSWORD}))


def test_account_without_a_password_is_refused(api, alice):
    alice.set_unusable_password()
    alice.save()
    assert_refused(api().post(URL, {"username": "alice", "password": alice.password}))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "alice"},
        {"password": PASSWORD},
        {"username": "alice", "password": "x" * 129},
        {"username": "a" * 255, "password": PASSWORD},
        {"username": "al\0ice", "password": PASSWORD},
        {"username": {"$ne": ""}, "password": PASSWORD},
    ],
)
def test_malformed_request_is_refused(api, alice, body):
    response = api().post(URL, body)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"password": make_password("another-password")},
        {"is_active": False},
        {"is_guest": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_change_while_the_password_was_checked_lets_no_session_open(alice, monkeypatch, change):
    """The hash takes long; what happens in between must not leave a session behind."""
    from accounts.services import sessions

    def authenticate_then_change(**credentials):
        user = authenticate(**credentials)
        User.objects.filter(pk=alice.pk).update(**change)
        return user

    authenticate = sessions.authenticate
    monkeypatch.setattr(sessions, "authenticate", authenticate_then_change)
    with pytest.raises(InvalidCredentials):
        services.sign_in(login="alice", password=PASSWORD)
    assert not Session.objects.exists()


def test_session_is_the_persons_own_whoever_shares_the_password_hash(alice, bob):
    other, person = sorted((alice, bob), key=lambda user: user.pk)
    User.objects.filter(pk=other.pk).update(password=person.password)
    assert services.sign_in(login=person.username, password=PASSWORD).session.user == person


def test_session_knows_its_device_in_what_a_column_holds(alice):
    session = services.sign_in(
        login="alice", password=PASSWORD, user_agent="\0" + "x" * 300
    ).session
    session.refresh_from_db()
    assert session.user_agent == "x" * 200


def test_session_lives_as_long_as_its_refresh_token(alice):
    tokens = services.open_session(user=alice)
    expires_on = read_refresh_token(tokens.refresh).expires_on
    assert abs(tokens.session.expires_at - expires_on) < timedelta(seconds=30)
