"""Fixtures everyone shares: three people, and clients signed in as them by real tokens."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from accounts import services
from accounts.models import User
from core import threads
from protocol.errors import ErrorCode
from tests.protocol.frames import require_error

pytest_plugins = ["tests.fakes.fixtures"]

PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close the thread pool's connections before the test database is dropped."""
    yield
    threads.shutdown()


@pytest.fixture(autouse=True)
def _no_throttling_across_tests() -> None:
    """Throttles count in the cache; each test begins with none counted."""
    cache.clear()


@pytest.fixture(autouse=True)
def _no_jobs_across_tests(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Django does not manage the job tables, so its flush after a test leaves their rows."""
    yield
    marker = request.node.get_closest_marker("django_db")
    transactional = marker is not None and marker.kwargs.get("transaction")
    if not transactional and "transactional_db" not in request.fixturenames:
        return
    with django_db_blocker.unblock():
        # A test may have cut every connection, this one too.
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM procrastinate_jobs")
            cursor.execute("DELETE FROM procrastinate_workers")


@pytest.fixture
def alice(db: None) -> User:
    """The owner of whatever a test is about."""
    return User.objects.create_user("alice", "alice@example.org", PASSWORD)


@pytest.fixture
def bob(db: None) -> User:
    """A member of it."""
    return User.objects.create_user("bob", "bob@example.org", PASSWORD)


@pytest.fixture
def charlie(db: None) -> User:
    """A stranger to it."""
    return User.objects.create_user("charlie", "charlie@example.org", PASSWORD)


@pytest.fixture
def token_for() -> Callable[[User], str]:
    """`token_for(user)`: an access token of a new session."""
    return lambda user: services.open_session(user=user).access


class Client(APIClient):
    """A REST client that takes no error but a documented one."""

    def request(self, **kwargs: Any) -> Any:
        """Make a request."""
        answer = super().request(**kwargs)
        if answer.status_code >= 400 and kwargs["PATH_INFO"].startswith("/api/"):
            error = answer.json()
            assert set(error) == {"code", "message", "details"}
            require_error(error)
            assert ErrorCode(error["code"]).status == answer.status_code
        return answer


@pytest.fixture
def api(token_for: Callable[[User], str]) -> Callable[..., APIClient]:
    """`api(user)`: a REST client signed in as the user; `api()`: one that is not."""

    def client(user: User | None = None) -> APIClient:
        made = Client()
        if user is not None:
            made.credentials(HTTP_AUTHORIZATION=f"Bearer {token_for(user)}")
        return made

    return client
