"""What is done after a commit, and what becomes of it if it fails."""

import logging

import pytest
from django.db import InterfaceError, OperationalError, transaction
from structlog.testing import capture_logs

from channels_pgnotify import ListenError, PublishError
from core.commits import after_commit

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_is_done_once_the_transaction_has_committed() -> None:
    done: list[str] = []
    with transaction.atomic():
        after_commit(lambda: done.append("told"), lost="lost")
        assert done == []
    assert done == ["told"]


def test_nothing_is_done_after_a_rollback() -> None:
    done: list[str] = []
    with transaction.atomic():
        after_commit(lambda: done.append("told"), lost="lost")
        transaction.set_rollback(True)
    assert done == []


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, PublishError, ListenError])
def test_what_is_lost_to_an_absent_database_is_one_warning(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    with capture_logs() as logs, caplog.at_level(logging.ERROR), transaction.atomic():
        after_commit(fail, lost="publication_lost")
    assert logs == [{"event": "publication_lost", "error": error.__name__, "log_level": "warning"}]
    assert caplog.records == []


def test_a_fault_of_ours_is_still_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic():
        after_commit(lambda: 1 / 0, lost="publication_lost")
    assert [record.exc_info is not None for record in caplog.records] == [True]
