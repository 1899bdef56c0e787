"""The admin shows notifications and deliveries, and changes none."""

import pytest
from django.test import Client

from notifications.models import Delivery, Notification
from notifications.services import notify


@pytest.fixture
def staff(alice) -> Client:
    alice.is_staff = alice.is_superuser = True
    alice.save()
    client = Client()
    client.force_login(alice)
    return client


@pytest.mark.parametrize("model", [Notification, Delivery])
def test_rows_can_be_looked_at_but_not_changed(staff, alice, model):
    notify(
        recipient=alice,
        category="message",
        action="replied",
        short_description="x",
        context={"token": "secret"},
    )
    row = model.objects.get()
    base = f"/admin/notifications/{model._meta.model_name}/"
    assert staff.get(base).status_code == 200
    page = staff.get(f"{base}{row.pk}/change/")
    assert page.status_code == 200
    assert b"secret" not in page.content
    assert staff.post(f"{base}{row.pk}/change/", {}).status_code == 403
    assert staff.get(f"{base}add/").status_code == 403
