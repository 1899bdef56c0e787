"""What one says of oneself, over REST."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from chat.models import PersonStatus

pytestmark = pytest.mark.django_db(transaction=True)

Api = Callable[..., APIClient]
STATUS = "/api/me/status/"


def test_a_status_is_ones_own(api: Api, alice: User, bob: User) -> None:
    said = api(alice).put(STATUS, {"emoji": "🍜", "text": " at lunch "}).json()
    assert said == {"status": {"emoji": "🍜", "text": "at lunch", "until": None}}
    assert api(alice).get(STATUS).json() == said
    assert api(bob).get(STATUS).json() == {"status": None}
    assert api().get(STATUS).status_code == 401
    assert api().put(STATUS, {}).status_code == 401


def test_to_say_nothing_takes_it_back(api: Api, alice: User) -> None:
    api(alice).put(STATUS, {"text": "here"})
    assert api(alice).put(STATUS, {"emoji": "", "text": " "}).json() == {"status": None}
    assert not PersonStatus.objects.exists()


def test_a_status_holds_until_its_time_is_over(api: Api, alice: User) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    api(alice).put(STATUS, {"text": "away", "until": tomorrow.isoformat()})
    assert api(alice).get(STATUS).json()["status"]["text"] == "away"
    PersonStatus.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert api(alice).get(STATUS).json() == {"status": None}
    over = timezone.now() - timedelta(seconds=1)
    refused = api(alice).put(STATUS, {"text": "away", "until": over.isoformat()})
    assert refused.status_code == 400


@pytest.mark.parametrize("body", [{"text": "x" * 101}, {"emoji": "x" * 41}, {"until": "soon"}])
def test_a_status_that_is_none_is_refused(api: Api, alice: User, body: dict[str, str]) -> None:
    assert api(alice).put(STATUS, body).status_code == 400
