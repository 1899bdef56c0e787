"""Pages of lists."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from chat.services.conversations import create_conversation
from notifications.services import notify

Api = Callable[..., APIClient]


@pytest.fixture(params=["assistants", "conversations", "members", "notifications"])
def listed(request: pytest.FixtureRequest, alice: User) -> str:
    """The address of a list."""
    group = create_conversation(user=alice, kind="group")
    return {"members": f"/api/conversations/{group.pk}/members/"}.get(
        request.param, f"/api/{request.param}/"
    )


@pytest.mark.parametrize("limit", ["null", "", "ten", "1.5", "1e2", "-1", "9" * 30, "true"])
def test_a_limit_that_is_no_number_is_refused(
    api: Api, alice: User, listed: str, limit: str
) -> None:
    answer = api(alice).get(listed, {"limit": limit})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert [one["field"] for one in answer.json()["details"]["fields"]] == ["limit"]


def test_a_page_has_as_many_rows_as_are_asked_for_and_one_at_least(api: Api, alice: User) -> None:
    for _ in range(3):
        create_conversation(user=alice, kind="group")
    for limit, rows in (("2", 2), ("1", 1), ("0", 1), ("1000", 3)):
        page = api(alice).get("/api/conversations/", {"limit": limit}).json()
        assert len(page["results"]) == rows


def test_no_page_has_more_rows_than_it_may(api: Api, alice: User) -> None:
    for number in range(101):
        notify(recipient=alice, category="c", action="a", short_description=str(number))
    client = api(alice)
    assert len(client.get("/api/notifications/", {"limit": "1000"}).json()["results"]) == 100
    assert len(client.get("/api/notifications/").json()["results"]) == 30
