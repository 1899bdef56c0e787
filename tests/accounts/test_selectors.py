"""Reads of people."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.selectors import user_by_login


@pytest.mark.parametrize(
    ("login", "index"),
    [("Alice", "user_username_unique_ci"), ("Alice@example.org", "user_email_unique")],
)
def test_signing_in_finds_people_by_an_index(alice, login, index):
    with CaptureQueriesContext(connection) as queries:
        assert user_by_login(login) == alice
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("EXPLAIN " + query["sql"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert f"Index Scan using {index}" in plan, plan


def test_guest_has_no_login_and_no_address_is_nobodys(alice, bob, guest):
    User.objects.filter(pk=bob.pk).update(email="")
    User.objects.filter(pk=guest.pk).update(email="gwen@example.org")
    for login in (guest.username, "gwen@example.org", "", "@"):
        assert user_by_login(login) is None
