"""POST /api/auth/guest/ and POST /api/auth/claim/"""

import pytest

from accounts import services
from accounts.models import User
from tests.conftest import PASSWORD

GUEST = "/api/auth/guest/"
CLAIM = "/api/auth/claim/"
ACCOUNT = {"username": "gwen", "email": "gwen@example.org", "password": PASSWORD}


def bearer(token):
    return {"headers": {"Authorization": f"Bearer {token}"}}


def test_guest_is_a_real_person_with_tokens(api, db):
    response = api().post(GUEST, {})
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"access", "refresh", "access_expires_at", "user"}
    assert body["user"]["is_guest"] is True
    assert body["user"]["name"] == "Guest"
    assert api().get("/api/me/", **bearer(body["access"])).json() == body["user"]
    assert not User.objects.get().has_usable_password()


def test_guest_needs_no_body(api, db):
    assert api().post(GUEST).status_code == 201


def test_guest_may_have_a_name_and_two_the_same(api, db):
    names = [api().post(GUEST, {"display_name": "Gwen"}).json()["user"]["name"] for _ in range(2)]
    assert names == ["Gwen", "Gwen"]


@pytest.mark.parametrize("name", ["G" * 81, "G\0", "G\u202e", ["G"], {"a": 1}])
def test_unacceptable_name_is_refused(api, db, name):
    response = api().post(GUEST, {"display_name": name})
    assert response.status_code == 400
    assert response.json()["details"]["fields"][0]["field"] == "display_name"
    assert not User.objects.exists()


def test_guests_may_be_unwelcome(api, db, settings):
    settings.GUESTS_ALLOWED = False
    response = api().post(GUEST, {})
    assert response.status_code == 403
    assert response.json()["code"] == "guests_not_allowed"


def test_claiming_keeps_the_id_the_session_and_the_name(api, guest):
    tokens = services.open_session(user=guest)
    response = api().post(CLAIM, ACCOUNT, **bearer(tokens.access))
    assert response.status_code == 200
    assert response.json() == {
        "id": str(guest.id),
        "username": "gwen",
        "name": "Gwen",
        "email": "gwen@example.org",
        "is_guest": False,
    }
    assert api().get("/api/me/", **bearer(tokens.access)).json() == response.json()
    assert services.refresh(token=tokens.refresh).session.user_id == guest.id
    assert services.sign_in(login="gwen", password=PASSWORD).session.user_id == guest.id


def test_claiming_twice_is_refused(api, guest):
    client = api(guest)
    client.post(CLAIM, ACCOUNT)
    response = client.post(CLAIM, ACCOUNT | {"username": "gwen2", "email": ""})
    assert response.status_code == 409
    assert response.json()["code"] == "not_a_guest"


def test_account_cannot_be_claimed(api, alice):
    assert api(alice).post(CLAIM, ACCOUNT).json()["code"] == "not_a_guest"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "Alice"}, "username"),
        ({"email": "ALICE@example.org"}, "email"),
        ({"password": "short"}, "password"),
        ({"username": "a@b"}, "username"),
    ],
)
def test_refused_claim_leaves_the_guest_a_guest(api, alice, guest, change, field):
    response = api(guest).post(CLAIM, ACCOUNT | change)
    assert response.status_code == 400
    assert response.json()["details"]["fields"][0]["field"] == field
    guest.refresh_from_db()
    assert guest.is_guest
    assert not guest.has_usable_password()


def test_stranger_claims_nothing(api, guest):
    assert api().post(CLAIM, ACCOUNT).status_code == 401


def test_closed_registration_closes_claims_too(api, guest, settings):
    settings.REGISTRATION_OPEN = False
    assert api(guest).post(CLAIM, ACCOUNT).json()["code"] == "registration_closed"
