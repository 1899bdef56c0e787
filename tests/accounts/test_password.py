"""POST /api/auth/password/change/, …/reset/ and …/reset/confirm/"""

import re

import pytest
from django.core import mail
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import services
from accounts.models import User
from accounts.tasks import send_password_reset
from core.errors import Invalid
from core.threads import in_thread
from tests.conftest import PASSWORD

CHANGE = "/api/auth/password/change/"
RESET = "/api/auth/password/reset/"
CONFIRM = "/api/auth/password/reset/confirm/"
NEW = "quite-another-password"


def signs_in(password, login="alice"):
    try:
        services.sign_in(login=login, password=password)
    except services.sessions.InvalidCredentials:
        return False
    return True


def run_jobs():
    """Do what a worker would with the reset jobs that wait."""
    for job in ProcrastinateJob.objects.filter(task_name=services.RESET_MAIL_TASK):
        services.send_password_reset(**job.args)


def mailed_link():
    (message,) = mail.outbox
    found = re.search(r"(\S+)#uid=(\S+)&token=(\S+)", message.body)
    assert found
    return found.groups()


@pytest.mark.django_db(transaction=True)
async def test_worker_mails_the_link(api, alice):
    await in_thread(lambda: api().post(RESET, {"email": "alice@example.org"}))
    job = await in_thread(ProcrastinateJob.objects.get, task_name=services.RESET_MAIL_TASK)
    await send_password_reset(**job.args)
    assert mailed_link()


# --- Change


def test_change_signs_every_other_device_out(
    api, alice, revocations, django_capture_on_commit_callbacks
):
    other = services.open_session(user=alice)
    client = api(alice)
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(CHANGE, {"current_password": PASSWORD, "new_password": NEW})
    assert response.status_code == 204
    assert client.get("/api/me/").status_code == 200
    assert revocations == [(alice.id, [other.session.id])]
    assert signs_in(NEW)
    assert not signs_in(PASSWORD)


def test_wrong_present_password_changes_nothing(api, alice):
    response = api(alice).post(CHANGE, {"current_password": "wrong", "new_password": NEW})
    assert response.status_code == 400
    assert response.json()["code"] == "wrong_password"
    assert signs_in(PASSWORD)


@pytest.mark.parametrize(
    "password", ["short", "9" * 129, "alice@example.org", "12345678901", "a\0" * 9]
)
def test_weak_or_overlong_password_is_refused(api, alice, password):
    response = api(alice).post(CHANGE, {"current_password": PASSWORD, "new_password": password})
    assert response.status_code == 400
    assert response.json()["details"]["fields"][0]["field"] == "new_password"
    assert signs_in(PASSWORD)


def test_guest_has_no_password_to_change(api, guest):
    response = api(guest).post(CHANGE, {"current_password": "x", "new_password": NEW})
    assert response.status_code == 409
    assert response.json()["code"] == "is_a_guest"


def test_stranger_changes_no_password(api, alice):
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert api().post(CHANGE, body).status_code == 401


# --- Reset


def test_link_is_mailed_and_sets_the_password_once(
    api, alice, bob, revocations, django_capture_on_commit_callbacks
):
    services.open_session(user=alice)
    bobs = services.open_session(user=bob).session
    assert api().post(RESET, {"email": " Alice@EXAMPLE.org "}).status_code == 204
    run_jobs()
    page, uid, token = mailed_link()
    assert page == "http://testserver/reset-password"
    assert mail.outbox[0].to == ["alice@example.org"]
    body = {"uid": uid, "token": token, "new_password": NEW}
    with django_capture_on_commit_callbacks(execute=True):
        assert api().post(CONFIRM, body).status_code == 204
    assert len(revocations) == 1
    bobs.refresh_from_db()
    assert bobs.revoked_at is None
    assert signs_in(NEW)
    again = api().post(CONFIRM, body | {"new_password": PASSWORD})
    assert again.status_code == 400
    assert again.json()["code"] == "reset_link_invalid"


def test_answer_is_the_same_for_an_unknown_address(api, alice):
    known = api().post(RESET, {"email": "alice@example.org"})
    unknown = api().post(RESET, {"email": "nobody@example.org"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert ProcrastinateJob.objects.count() == 2


def test_no_mail_goes_to_an_unknown_address(api, alice):
    api().post(RESET, {"email": "nobody@example.org"})
    run_jobs()
    assert mail.outbox == []


def test_no_mail_goes_to_a_deactivated_person(api, alice):
    services.deactivate_user(user=alice)
    api().post(RESET, {"email": "alice@example.org"})
    run_jobs()
    assert mail.outbox == []


@pytest.mark.parametrize("state", ["deactivated", "made a guest"])
def test_link_sets_no_password_for_whoever_may_not_sign_in_any_more(api, alice, state):
    services.send_password_reset(email=alice.email, site="")
    _, uid, token = mailed_link()
    change = {"deactivated": {"is_active": False}, "made a guest": {"is_guest": True}}[state]
    User.objects.filter(pk=alice.pk).update(**change)
    response = api().post(CONFIRM, {"uid": uid, "token": token, "new_password": NEW})
    assert response.status_code == 400
    assert response.json()["code"] == "reset_link_invalid"
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


@pytest.mark.parametrize("change", [{"password": "!"}, {"is_guest": True}])
def test_no_mail_goes_to_whoever_signs_in_without_a_password(alice, change):
    User.objects.filter(pk=alice.pk).update(**change)
    services.send_password_reset(email=alice.email, site="")
    assert mail.outbox == []


def test_user_name_is_no_address_to_mail_to(alice):
    services.send_password_reset(email="alice", site="")
    assert mail.outbox == []


def test_another_mail_may_be_asked_for_after_a_while(alice, monkeypatch):
    monkeypatch.setattr("accounts.services.passwords.RESET_MAIL_INTERVAL", 0)
    for _ in range(2):
        services.send_password_reset(email=alice.email, site="")
    assert len(mail.outbox) == 2


def test_one_persons_mail_holds_back_no_others(alice, bob):
    for email in (alice.email, bob.email, alice.email):
        services.send_password_reset(email=email, site="")
    assert [message.to for message in mail.outbox] == [[alice.email], [bob.email]]


def test_mail_that_could_not_be_sent_is_tried_again(alice, monkeypatch):
    def away(*args, **kwargs):
        raise OSError("no route")

    with monkeypatch.context() as patch:
        patch.setattr("accounts.services.passwords.send_mail", away)
        with pytest.raises(OSError, match="no route"):
            services.send_password_reset(email=alice.email, site="")
    services.send_password_reset(email=alice.email, site="")
    assert len(mail.outbox) == 1


@pytest.mark.parametrize(("setting", "seconds"), [(None, 10), (3, 3)])
def test_mail_server_that_hangs_is_given_up(alice, monkeypatch, settings, setting, seconds):
    settings.EMAIL_TIMEOUT = setting
    timeouts = []

    def connect(timeout):
        timeouts.append(timeout)
        return mail.get_connection()

    monkeypatch.setattr("accounts.services.passwords.get_connection", connect)
    services.send_password_reset(email=alice.email, site="")
    assert timeouts == [seconds]


def test_longest_password_is_taken_and_a_longer_one_is_not(alice):
    longest = "correct-horse-" + "b" * (services.PASSWORD_MAX_LENGTH - 14)
    session = services.open_session(user=alice).session
    change = {"user": alice, "current_password": PASSWORD, "session_id": session.id}
    with pytest.raises(Invalid):
        services.change_password(new_password=longest + "b", **change)
    services.change_password(new_password=longest, **change)
    assert signs_in(longest)


def test_mailbox_cannot_be_flooded(api, alice):
    for _ in range(3):
        api().post(RESET, {"email": "alice@example.org"})
    run_jobs()
    assert len(mail.outbox) == 1


def test_no_job_carries_a_link_that_works(api, alice):
    api().post(RESET, {"email": "alice@example.org"})
    assert ProcrastinateJob.objects.get().args == {
        "email": "alice@example.org",
        "site": "http://testserver",
    }


def test_mail_carries_no_words_of_a_strangers_choice(alice):
    User.objects.filter(pk=alice.pk).update(display_name="Visit evil.example now")
    services.send_password_reset(email="alice@example.org", site="http://testserver")
    assert "evil" not in mail.outbox[0].body + mail.outbox[0].subject


@pytest.mark.parametrize(
    "change",
    [
        {"uid": "x"},
        {"uid": "é"},
        {"uid": "MQ"},
        {"token": "x-y"},
        {"token": "é"},
    ],
)
def test_forged_link_is_refused(api, alice, change):
    services.send_password_reset(email=alice.email, site="")
    _, uid, token = mailed_link()
    body = {"uid": uid, "token": token, "new_password": NEW} | change
    response = api().post(CONFIRM, body)
    assert response.status_code == 400
    assert response.json()["code"] == "reset_link_invalid"
    assert signs_in(PASSWORD)


def test_link_of_another_person_is_refused(api, alice, bob):
    services.send_password_reset(email=alice.email, site="")
    _, _, token = mailed_link()
    mail.outbox.clear()
    services.send_password_reset(email=bob.email, site="")
    _, uid, _ = mailed_link()
    response = api().post(CONFIRM, {"uid": uid, "token": token, "new_password": NEW})
    assert response.json()["code"] == "reset_link_invalid"


def test_link_is_worthless_after_signing_in(api, alice):
    services.send_password_reset(email=alice.email, site="")
    _, uid, token = mailed_link()
    assert signs_in(PASSWORD)
    response = api().post(CONFIRM, {"uid": uid, "token": token, "new_password": NEW})
    assert response.json()["code"] == "reset_link_invalid"


def test_weak_password_leaves_the_link_good(api, alice):
    services.send_password_reset(email=alice.email, site="")
    _, uid, token = mailed_link()
    body = {"uid": uid, "token": token}
    refused = api().post(CONFIRM, body | {"new_password": "short"})
    assert refused.json()["details"]["fields"][0]["field"] == "new_password"
    assert api().post(CONFIRM, body | {"new_password": NEW}).status_code == 204
