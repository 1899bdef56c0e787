"""Who a bearer token lets in over REST."""

import pytest
from django.conf import settings
from rest_framework_simplejwt.tokens import AccessToken

from accounts import services
from accounts.models import User
from accounts.tokens import new_access_token

ME = "/api/me/"


def get_me(api, authorization):
    return api().get(ME, headers={"Authorization": authorization})


def assert_refused(response, code):
    assert response.status_code == 401
    assert response.json()["code"] == code
    assert set(response.json()) == {"code", "message", "details"}
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'


def test_token_of_a_live_session_is_let_in(api, alice):
    assert api(alice).get(ME).json()["id"] == str(alice.id)


def test_one_query_authenticates_a_request(api, alice, django_assert_num_queries):
    client = api(alice)
    with django_assert_num_queries(1):
        client.get(ME)


def test_scheme_is_read_in_any_letter_case(api, alice, token_for):
    assert get_me(api, f"bearer {token_for(alice)}").status_code == 200


def test_no_token_is_refused(api, db):
    assert_refused(api().get(ME), "not_authenticated")


def test_another_scheme_is_no_token(api, db):
    assert_refused(get_me(api, "Basic YWxpY2U6c2VjcmV0"), "not_authenticated")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "Bearer x", "Bearer é"])
def test_malformed_bearer_header_is_refused(api, db, header):
    assert_refused(get_me(api, header), "token_invalid")


def test_valid_token_with_junk_after_it_is_refused(api, alice, token_for):
    assert_refused(get_me(api, f"Bearer {token_for(alice)} junk"), "token_invalid")


def test_token_over_the_length_limit_is_refused_however_well_signed(api, alice):
    session = services.open_session(user=alice).session

    def padded(length):
        for size in range(length // 2, length):
            token = new_access_token(session)
            token["padding"] = "x" * size
            if len(str(token)) >= length:
                return str(token)
        raise AssertionError

    longest, overlong = padded(4096), padded(4097)
    assert len(longest) == 4096
    assert get_me(api, f"Bearer {longest}").status_code == 200
    assert_refused(get_me(api, f"Bearer {overlong}"), "token_invalid")


def test_overlong_token_is_refused(api, db):
    assert_refused(get_me(api, "Bearer " + "a" * 5000), "token_invalid")


def test_expired_token_says_so(api, alice, expired):
    session = services.open_session(user=alice).session
    assert_refused(get_me(api, f"Bearer {expired(session, 'access')}"), "token_expired")


def test_refresh_token_is_no_access_token(api, alice):
    tokens = services.open_session(user=alice)
    assert_refused(get_me(api, f"Bearer {tokens.refresh}"), "token_invalid")


def test_token_with_a_changed_signature_is_refused(api, alice, token_for):
    head, body, signature = token_for(alice).split(".")
    forged = ".".join([head, body, signature[::-1]])
    assert_refused(get_me(api, f"Bearer {forged}"), "token_invalid")


def test_unsigned_token_is_refused(api, alice):
    import jwt

    payload = new_access_token(services.open_session(user=alice).session).payload
    unsigned = jwt.encode(payload, key=None, algorithm="none")
    assert_refused(get_me(api, f"Bearer {unsigned}"), "token_invalid")


@pytest.mark.parametrize("claim", ["user_id", "sid"])
@pytest.mark.parametrize("value", [None, 7, "not-a-uuid", ["x"]])
def test_well_signed_token_with_another_claim_set_is_refused(api, alice, claim, value):
    token = new_access_token(services.open_session(user=alice).session)
    token[claim] = value
    assert_refused(get_me(api, f"Bearer {token}"), "token_invalid")


def test_token_without_a_session_is_refused(api, alice):
    assert_refused(get_me(api, f"Bearer {AccessToken.for_user(alice)}"), "token_invalid")


def test_session_of_another_person_is_refused(api, alice, bob):
    token = new_access_token(services.open_session(user=alice).session)
    token["user_id"] = str(bob.id)
    assert_refused(get_me(api, f"Bearer {token}"), "session_revoked")


def test_revoked_session_is_refused_at_once(api, alice):
    tokens = services.open_session(user=alice)
    services.revoke_session(session_id=tokens.session.id, user_id=alice.id)
    assert_refused(get_me(api, f"Bearer {tokens.access}"), "session_revoked")


def test_deleted_session_is_refused(api, alice):
    tokens = services.open_session(user=alice)
    tokens.session.delete()
    assert_refused(get_me(api, f"Bearer {tokens.access}"), "session_revoked")


def test_deactivated_person_is_refused_at_once(api, alice):
    client = api(alice)
    services.deactivate_user(user=alice)
    assert_refused(client.get(ME), "user_inactive")


def test_another_session_stays_when_one_is_revoked(api, alice):
    first, second = services.open_session(user=alice), services.open_session(user=alice)
    services.revoke_session(session_id=first.session.id, user_id=alice.id)
    assert get_me(api, f"Bearer {second.access}").status_code == 200


def test_cookies_let_nobody_in(api, alice, client):
    client.force_login(alice, backend=settings.AUTHENTICATION_BACKENDS[0])
    assert_refused(client.get(ME), "not_authenticated")


def test_stale_token_does_not_keep_anyone_from_signing_in(api, alice):
    response = api().post(
        "/api/auth/token/",
        {"username": "alice", "password": "correct-horse-battery"},
        headers={"Authorization": "Bearer stale"},
    )
    assert response.status_code == 200


def test_lost_database_answers_503_not_401_or_500(api, alice, monkeypatch):
    from django.db import OperationalError

    def lost(claims):
        raise OperationalError("gone")

    client = api(alice)
    monkeypatch.setattr("accounts.authentication.live_session", lost)
    response = client.get(ME)
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert response["Retry-After"] == "2"


def test_usernames_cannot_look_like_addresses_in_the_database_either(db):
    from django.db import IntegrityError

    with pytest.raises(IntegrityError, match="user_username_no_at"):
        User.objects.create_user("mallory@example.org")
