"""People and sessions in the admin."""

import pytest
from django.urls import reverse

from accounts import services
from accounts.models import User


@pytest.fixture
def staff(client, db):
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def change_form(user, **change):
    fields = {"username": user.username, "email": user.email, "is_active": "on"} | change
    return {name: value for name, value in fields.items() if value is not None}


def live(user):
    return user.sessions.filter(revoked_at=None).count()


@pytest.mark.parametrize("model", ["user", "session"])
def test_pages_open(staff, alice, model):
    session = services.open_session(user=alice).session
    thing = {"user": alice, "session": session}[model]
    assert staff.get(reverse(f"admin:accounts_{model}_changelist"), {"q": "ali"}).status_code == 200
    assert staff.get(reverse(f"admin:accounts_{model}_change", args=[thing.pk])).status_code == 200


def test_deactivating_signs_out(staff, alice):
    services.open_session(user=alice)
    url = reverse("admin:accounts_user_change", args=[alice.pk])
    assert staff.post(url, change_form(alice, is_active=None)).status_code == 302
    alice.refresh_from_db()
    assert not alice.is_active
    assert live(alice) == 0


def test_other_changes_leave_people_signed_in(staff, alice):
    services.open_session(user=alice)
    url = reverse("admin:accounts_user_change", args=[alice.pk])
    assert staff.post(url, change_form(alice, display_name="Alice A.")).status_code == 302
    alice.refresh_from_db()
    assert alice.display_name == "Alice A."
    assert live(alice) == 1


def test_another_password_signs_out(staff, alice):
    services.open_session(user=alice)
    url = reverse("admin:auth_user_password_change", args=[alice.pk])
    new = {"password1": "quite-another-one", "password2": "quite-another-one"}
    assert staff.post(url, new | {"usable_password": "true"}).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password("quite-another-one")
    assert live(alice) == 0


def test_username_with_an_at_sign_is_refused(staff, alice):
    url = reverse("admin:accounts_user_change", args=[alice.pk])
    assert staff.post(url, change_form(alice, username="a@b")).status_code == 200
    alice.refresh_from_db()
    assert alice.username == "alice"


def test_selected_sessions_are_revoked(
    staff, alice, bob, revocations, django_capture_on_commit_callbacks
):
    session = services.open_session(user=alice).session
    services.open_session(user=bob)
    action = {"action": "revoke", "_selected_action": [str(session.pk)]}
    with django_capture_on_commit_callbacks(execute=True):
        staff.post(reverse("admin:accounts_session_changelist"), action)
    assert (live(alice), live(bob)) == (0, 1)
    assert revocations == [(alice.id, [session.id])]


@pytest.mark.parametrize("model", ["user", "session"])
def test_nothing_is_deleted_here(staff, alice, model):
    thing = {"user": alice, "session": services.open_session(user=alice).session}[model]
    url = reverse(f"admin:accounts_{model}_delete", args=[thing.pk])
    assert staff.post(url, {"post": "yes"}).status_code == 403
