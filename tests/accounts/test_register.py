"""POST /api/auth/register/"""

import json
import threading

import pytest
from django.db import connection
from pydantic import ValidationError

from accounts import services
from accounts.models import Session, User
from accounts.rest.bodies import Registration
from core.errors import Invalid

URL = "/api/auth/register/"
DANA = {"username": "dana", "email": "dana@example.org", "password": "correct-horse-battery"}


def fields_refused(response):
    assert response.status_code == 400, response.content
    body = response.json()
    assert body["code"] == "invalid"
    return {field["field"]: field["code"] for field in body["details"]["fields"]}


def test_registration_signs_in_at_once(api, db):
    response = api().post(URL, DANA, headers={"User-Agent": "Phone/1"})
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"access", "refresh", "access_expires_at", "user"}
    user = User.objects.get(username="dana")
    assert body["user"] == {
        "id": str(user.id),
        "username": "dana",
        "name": "dana",
        "email": "dana@example.org",
        "is_guest": False,
    }
    me = api().get("/api/me/", headers={"Authorization": f"Bearer {body['access']}"})
    assert me.json() == body["user"]
    assert Session.objects.get(user=user).user_agent == "Phone/1"


def test_password_is_stored_hashed(api, db):
    api().post(URL, DANA)
    user = User.objects.get(username="dana")
    assert DANA["password"] not in user.password
    assert user.check_password(DANA["password"])


def test_password_is_kept_exactly_as_typed(api, db):
    api().post(URL, DANA | {"password": " correct horse \n"})
    user = User.objects.get(username="dana")
    assert user.check_password(" correct horse \n")
    assert not user.check_password("correct horse")


def test_password_is_in_no_error_and_no_representation():
    secret = "correct-horse-battery"
    body = Registration(username="dana", password=secret)
    assert body.password == secret
    assert secret not in repr(body)
    for refused in ({"password": secret}, {"password": secret * 9}, {"password": f"{secret}\0"}):
        with pytest.raises(ValidationError) as error:
            Registration.model_validate(refused)
        assert secret not in str(error.value)


def test_address_is_optional_and_two_may_have_none(api, db):
    for name in ("dana", "erik"):
        response = api().post(URL, {"username": name, "password": "correct-horse-battery"})
        assert response.status_code == 201


def test_display_name_is_trimmed_and_shown(api, db):
    body = api().post(URL, DANA | {"display_name": "  Dana D.  "}).json()
    assert body["user"]["name"] == "Dana D."


def test_domain_of_an_address_is_normalised(api, db):
    body = api().post(URL, DANA | {"email": " Dana@EXAMPLE.Org "}).json()
    assert body["user"]["email"] == "Dana@example.org"


def test_compatibility_forms_of_a_username_are_one(api, db):
    assert api().post(URL, DANA | {"username": "ｄａｎａ"}).json()["user"]["username"] == "dana"


@pytest.mark.parametrize("username", ["alice", "ALICE", "Alice"])
def test_username_is_unique_in_any_letter_case(api, alice, username):
    assert fields_refused(api().post(URL, DANA | {"username": username})) == {"username": "unique"}


def test_what_is_taken_is_said_in_words_too(api, db):
    api().post(URL, DANA)
    refused = api().post(URL, DANA | {"email": "other@example.org"}).json()
    (problem,) = refused["details"]["fields"]
    assert problem == {
        "field": "username",
        "code": "unique",
        "message": "This user name is taken.",
    }


@pytest.mark.parametrize("email", ["alice@example.org", "ALICE@example.org", "alice@EXAMPLE.ORG"])
def test_address_is_unique_in_any_letter_case(api, alice, email):
    assert fields_refused(api().post(URL, DANA | {"email": email})) == {"email": "unique"}


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"username": "a@b"}, "username", "invalid_username"),
        ({"username": "a b"}, "username", "invalid_username"),
        ({"username": "dana\n"}, "username", None),
        ({"username": ""}, "username", "string_too_short"),
        ({"username": "a" * 151}, "username", "string_too_long"),
        ({"username": "da\0na"}, "username", "value_error"),
        ({"username": None}, "username", "string_type"),
        ({"username": ["dana"]}, "username", "string_type"),
        ({"email": "nonsense"}, "email", "invalid"),
        ({"email": "a" * 250 + "@x.org"}, "email", "string_too_long"),
        ({"email": "da\0na@example.org"}, "email", "value_error"),
        ({"password": ""}, "password", "string_too_short"),
        ({"password": "short"}, "password", "password_too_short"),
        ({"password": "password1234"}, "password", "password_too_common"),
        ({"password": "dana@example.org"}, "password", "password_too_similar"),
        ({"password": "9" * 129}, "password", "string_too_long"),
        ({"password": "correct\0horse"}, "password", "value_error"),
        ({"display_name": "D" * 81}, "display_name", "string_too_long"),
        ({"display_name": "D\0"}, "display_name", "value_error"),
        ({"display_name": "D\u202eanad"}, "display_name", "control_characters_not_allowed"),
        ({"display_name": "D\na"}, "display_name", "control_characters_not_allowed"),
    ],
)
def test_unacceptable_value_is_refused_by_field(api, db, change, field, code):
    response = api().post(URL, DANA | change)
    if code is None:  # Trimmed to something acceptable.
        assert response.status_code == 201
        return
    assert fields_refused(response)[field] == code
    assert not User.objects.exists()


def test_lone_surrogate_is_refused(api, db):
    body = json.dumps(DANA | {"username": "da\ud800na"})
    response = api().post(URL, data=body, content_type="application/json")
    assert fields_refused(response)["username"] == "value_error"


@pytest.mark.parametrize("body", ["[]", '"x"', "{", "null", ""])
def test_body_that_is_no_object_is_refused(api, db, body):
    response = api().post(URL, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["code"] in {"invalid", "parse_error"}


def test_services_refuse_the_same_as_the_edge(db):
    for bad in ({"username": "a@b"}, {"password": "x\0" * 20}, {"email": "nonsense"}):
        with pytest.raises(Invalid) as refusal:
            services.register(**DANA | bad)
        assert [field["field"] for field in refusal.value.details["fields"]] == list(bad)


@pytest.mark.parametrize("field", ["is_staff", "is_superuser", "id", "is_guest"])
def test_nobody_gives_themselves_what_a_registration_does_not_have(api, db, field):
    refused = api().post(URL, DANA | {field: True})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert not User.objects.exists()


def test_closed_registration_says_so(api, db, settings):
    settings.REGISTRATION_OPEN = False
    response = api().post(URL, DANA)
    assert response.status_code == 403
    assert response.json()["code"] == "registration_closed"
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_of_two_racing_registrations_of_a_name_wins(api):
    barrier = threading.Barrier(2)
    answers = []

    def race(email):
        barrier.wait(timeout=10)
        try:
            answers.append(api().post(URL, DANA | {"email": email}))
        finally:
            connection.close()

    threads = [threading.Thread(target=race, args=(f"{n}@example.org",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(answer.status_code for answer in answers) == [201, 400]
    loser = next(answer for answer in answers if answer.status_code == 400)
    assert fields_refused(loser) == {"username": "unique"}
