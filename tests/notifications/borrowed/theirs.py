"""django-notifs' tests as our pytest takes them; its name keeps it out of `make test`.

They are not changed. Each runs outside a transaction: there a notification is sent at once, here
after the commit, which inside a TestCase never comes.
"""

import ast
import os
from pathlib import Path

import django.test
import pytest
from django.db import connection

import notifications

# Their folder, beside ours.
BORROWED = Path(os.environ["BORROWED"])
notifications.__path__.append(str(BORROWED))

from notifications.tests import test_general  # noqa: E402

# Each test that cannot run here, and why.
INAPPLICABLE = {
    "test_celery_backend": "the Celery backend: deliveries go through PostgreSQL",
    "test_celery_task": "the task of the Celery backend",
    "test_rq_backend": "the RQ backend: deliveries go through PostgreSQL",
    "test_channels_backend": "the Channels backend: a layer keeps nothing, so a crash loses some",
    "test_channels_consumer": "the consumer of the Channels backend",
}
# Each test that fails here, and why that is meant.
DIFFERENT = {
    "test_bulk_notification_notify": "ours shows the notification, theirs the provider's name",
    "test_import_custom_notification_model": "the model cannot be replaced: deliveries refer to it",
}


def names(file: str) -> set[str]:
    """The tests in a file, whether it can be imported or not."""
    tree = ast.parse((BORROWED / "tests" / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
    return {name for name in found if name.startswith("test_")}


def outside_a_transaction(
    theirs: type[django.test.TestCase],
) -> type[django.test.TransactionTestCase]:
    """The same tests, made anew as a class whose rows are committed."""
    members = {name: value for name, value in vars(theirs).items() if name != "__dict__"}

    def set_up(self: django.test.TransactionTestCase) -> None:
        type(self).setUpTestData()

    members["setUp"] = set_up
    for name, reason in DIFFERENT.items():
        if name in members:
            marker = pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)
            members[name] = marker(members[name])
    return type(theirs.__name__, (django.test.TransactionTestCase,), members)


NotificationTestCase = outside_a_transaction(test_general.NotificationTestCase)
CustomNotificationTestCase = outside_a_transaction(test_general.CustomNotificationTestCase)


@pytest.fixture(scope="session", autouse=True)
def _addresses_as_names(django_db_setup, django_db_blocker):
    """Their users are called by e-mail addresses, which ours may not be."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_user DROP CONSTRAINT user_username_no_at")


@pytest.fixture(autouse=True)
def _their_settings(settings):
    settings.NOTIFICATIONS_DELIVERY_BACKEND = "notifications.backends.Synchronous"


@pytest.mark.parametrize("name", INAPPLICABLE)
def test_backends(name):
    assert name in names("test_backends.py")
    pytest.skip(f"{name}: {INAPPLICABLE[name]}")


def test_there_are_no_others():
    assert names("test_backends.py") == set(INAPPLICABLE)
    assert set(DIFFERENT) <= names("test_general.py")
    assert len(names("test_general.py")) + len(INAPPLICABLE) == 17
