"""POST /api/auth/token/refresh/"""

import threading

import pytest
from django.db import connection
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from accounts import services
from accounts.models import Session
from accounts.tokens import new_refresh_token, read_access_token

URL = "/api/auth/token/refresh/"


@pytest.fixture
def tokens(alice):
    return services.open_session(user=alice)


@pytest.fixture
def refresh(api):
    return lambda token: api().post(URL, {"refresh": token})


def works(api, access):
    response = api().get("/api/me/", headers={"Authorization": f"Bearer {access}"})
    return response.status_code == 200


def assert_refused(response, code):
    assert response.status_code == 401
    assert response.json()["code"] == code


def test_refresh_answers_with_a_pair_for_the_same_session(api, alice, tokens, refresh):
    response = refresh(tokens.refresh)
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"access", "refresh", "access_expires_at", "user"}
    assert body["refresh"] != tokens.refresh
    assert read_access_token(body["access"]).session_id == tokens.session.id
    assert works(api, body["access"])
    assert alice.sessions.count() == 1


def test_rotation_goes_on_and_on(refresh, tokens, after_grace):
    token = tokens.refresh
    for _ in range(4):
        token = refresh(token).json()["refresh"]
        after_grace()
    assert refresh(token).status_code == 200


def test_each_refresh_prolongs_the_session(refresh, tokens):
    before = tokens.session.expires_at
    refresh(tokens.refresh)
    tokens.session.refresh_from_db()
    assert tokens.session.expires_at > before


def test_token_reused_within_the_grace_still_gets_a_pair(api, refresh, tokens):
    first, second = refresh(tokens.refresh), refresh(tokens.refresh)
    assert second.status_code == 200
    for answer in (first, second):
        assert works(api, answer.json()["access"])
        assert refresh(answer.json()["refresh"]).status_code == 200


def test_token_whose_answer_was_lost_still_gets_a_pair_hours_later(
    api, refresh, tokens, after_grace
):
    for _ in range(3):
        refresh(tokens.refresh)  # and nobody hears the answer
        after_grace()
    answer = refresh(tokens.refresh)
    assert answer.status_code == 200
    assert works(api, answer.json()["access"])
    after_grace()
    assert refresh(answer.json()["refresh"]).status_code == 200


def test_token_reused_later_ends_the_session_for_thief_and_owner(api, refresh, tokens, after_grace):
    owner = refresh(refresh(tokens.refresh).json()["refresh"]).json()
    after_grace()
    assert_refused(refresh(tokens.refresh), "session_revoked")
    assert not works(api, owner["access"])
    assert_refused(refresh(owner["refresh"]), "session_revoked")


def test_thief_who_uses_a_token_before_its_owner_is_found_when_both_have_refreshed(
    api, refresh, tokens, after_grace
):
    thief = refresh(tokens.refresh).json()
    after_grace()
    owner = refresh(tokens.refresh).json()
    after_grace()
    owner = refresh(owner["refresh"]).json()
    after_grace()
    assert_refused(refresh(thief["refresh"]), "session_revoked")
    assert not works(api, owner["access"])
    assert_refused(refresh(owner["refresh"]), "session_revoked")


def test_token_overtaken_by_one_long_forgotten_ends_the_session(refresh, tokens):
    first, second = (refresh(tokens.refresh).json()["refresh"] for _ in range(2))
    refresh(first)
    OutstandingToken.objects.all().delete()
    assert_refused(refresh(second), "session_revoked")
    tokens.session.refresh_from_db()
    assert tokens.session.revoked_at is not None


def test_reuse_leaves_other_sessions_alone(api, alice, refresh, tokens, after_grace):
    other = services.open_session(user=alice)
    refresh(refresh(tokens.refresh).json()["refresh"])
    after_grace()
    refresh(tokens.refresh)
    assert works(api, other.access)
    assert refresh(other.refresh).status_code == 200


def test_reuse_is_told_to_open_sockets(
    alice, refresh, tokens, after_grace, revocations, django_capture_on_commit_callbacks
):
    refresh(refresh(tokens.refresh).json()["refresh"])
    after_grace()
    with django_capture_on_commit_callbacks(execute=True):
        refresh(tokens.refresh)
    assert revocations == [(alice.id, [tokens.session.id])]


def test_expired_token_says_so(refresh, tokens, expired):
    assert_refused(refresh(expired(tokens.session, "refresh")), "token_expired")


def test_access_token_is_no_refresh_token(refresh, tokens):
    assert_refused(refresh(tokens.access), "token_invalid")


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "Bearer x"])
def test_malformed_token_is_refused(db, refresh, token):
    assert_refused(refresh(token), "token_invalid")


@pytest.mark.parametrize("token", ["", None, 7.5, [], "a" * 4097, "a\0b"])
def test_what_is_no_token_at_all_is_refused(db, refresh, token):
    assert refresh(token).status_code in {400, 401}


def test_revoked_session_is_not_refreshed(alice, refresh, tokens):
    services.revoke_session(session_id=tokens.session.id, user_id=alice.id)
    assert_refused(refresh(tokens.refresh), "session_revoked")


def test_deactivated_person_is_not_refreshed(alice, refresh, tokens):
    alice.is_active = False
    alice.save()
    assert_refused(refresh(tokens.refresh), "user_inactive")


def test_token_naming_anothers_session_is_refused(bob, refresh, tokens):
    token = new_refresh_token(tokens.session)
    token["user_id"] = str(bob.id)
    assert_refused(refresh(str(token)), "session_revoked")
    assert Session.objects.get().revoked_at is None


def test_spent_tokens_are_not_stored_as_text(refresh, tokens):
    refresh(tokens.refresh)
    assert list(OutstandingToken.objects.values_list("token", flat=True)) == [""]


@pytest.mark.django_db(transaction=True)
def test_two_tabs_refreshing_at_once_both_stay_signed_in(api, refresh, tokens):
    barrier = threading.Barrier(4)
    answers = []

    def tab():
        barrier.wait(timeout=10)
        try:
            answers.append(refresh(tokens.refresh))
        finally:
            connection.close()

    tabs = [threading.Thread(target=tab) for _ in range(4)]
    for thread in tabs:
        thread.start()
    for thread in tabs:
        thread.join(timeout=20)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert OutstandingToken.objects.count() == 1, "it was spent once"
    for answer in answers:
        assert works(api, answer.json()["access"])
        assert refresh(answer.json()["refresh"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_refresh_racing_a_change_of_password_never_deadlocks(alice, tokens):
    """Spending a token locks the session, then touches its person; the change does the reverse."""
    from tests.conftest import PASSWORD

    kept = services.open_session(user=alice)
    problems = []

    def refreshing():
        token = tokens.refresh
        try:
            for _ in range(10):
                token = services.refresh(token=token).refresh
        except services.sessions.SessionRevoked:
            pass
        except Exception as problem:  # noqa: BLE001 - whatever it was, the test fails with it
            problems.append(problem)
        finally:
            connection.close()

    def changing():
        try:
            services.change_password(
                user=alice,
                current_password=PASSWORD,
                new_password="quite-another-password",
                session_id=kept.session.id,
            )
        except Exception as problem:  # noqa: BLE001
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=refreshing), threading.Thread(target=changing)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert problems == []
    tokens.session.refresh_from_db()
    assert tokens.session.revoked_at is not None
