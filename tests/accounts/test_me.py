"""GET and PATCH /api/me/"""

import pytest

URL = "/api/me/"


def test_me_is_who_asks(api, alice, bob):
    for user in (alice, bob):
        assert api(user).get(URL).json() == {
            "id": str(user.id),
            "username": user.username,
            "name": user.username,
            "email": user.email,
            "is_guest": False,
        }


def test_name_can_be_changed_and_taken_back(api, alice):
    assert api(alice).patch(URL, {"display_name": " Alice A. "}).json()["name"] == "Alice A."
    assert api(alice).get(URL).json()["name"] == "Alice A."
    assert api(alice).patch(URL, {"display_name": ""}).json()["name"] == "alice"


def test_empty_change_changes_nothing(api, alice):
    api(alice).patch(URL, {"display_name": "Alice A."})
    response = api(alice).patch(URL, {})
    assert response.status_code == 200
    assert response.json()["name"] == "Alice A."


def test_only_ones_own_name_changes(api, alice, bob):
    api(alice).patch(URL, {"display_name": "Alice A.", "id": str(bob.id)})
    bob.refresh_from_db()
    assert bob.display_name == ""


@pytest.mark.parametrize("field", ["username", "email", "is_guest", "is_staff", "id"])
def test_nothing_else_can_be_changed_here(api, alice, field):
    before = api(alice).get(URL).json()
    refused = api(alice).patch(URL, {field: "mallory"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert [problem["field"] for problem in refused.json()["details"]["fields"]] == [field]
    assert api(alice).get(URL).json() == before
    alice.refresh_from_db()
    assert alice.is_staff is False


@pytest.mark.parametrize("name", ["A" * 81, "A\0", "A\x07", None, []])
def test_unacceptable_name_is_refused(api, alice, name):
    response = api(alice).patch(URL, {"display_name": name})
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"


@pytest.mark.parametrize("method", ["get", "patch"])
def test_stranger_is_nobody(api, db, method):
    assert getattr(api(), method)(URL).status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_other_methods_are_refused_in_the_same_shape(api, alice, method):
    response = getattr(api(alice), method)(URL)
    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
