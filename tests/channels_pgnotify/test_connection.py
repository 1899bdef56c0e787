"""Where the layer's Postgres is, and how long it waits before it tries again."""

import random

import pytest
from django.db import connection

from channels_pgnotify.connection import Database, backoff


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance always chooses the longest wait."""
    monkeypatch.setattr(random, "uniform", lambda _shortest, longest: longest)


@pytest.mark.usefixtures("longest")
def test_wait_before_another_attempt_doubles_up_to_a_limit() -> None:
    assert [backoff(attempt) for attempt in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert backoff(10) == backoff(10_000) == 5.0
    assert backoff(10_000, cap=1.0) == 1.0


def test_wait_is_spread_so_that_not_all_come_back_at_once() -> None:
    waits = [backoff(5) for _ in range(100)]
    assert len(set(waits)) > 1
    assert all(0 <= wait <= 3.2 for wait in waits)


def test_layer_without_a_database_of_its_own_uses_djangos(db: None) -> None:
    database = Database(None)
    assert database.is_djangos()
    assert database.params("test")["dbname"] == connection.settings_dict["NAME"]


def test_layer_with_djangos_database_spelt_out_uses_its_connection_too(db: None) -> None:
    assert Database({"NAME": connection.settings_dict["NAME"]}).is_djangos()
    assert not Database({"NAME": "another"}).is_djangos()


def test_settings_of_an_entry_become_what_libpq_takes() -> None:
    database = Database({"NAME": "a", "HOST": "b", "OPTIONS": {"connect_timeout": 99}})
    params = database.params("who")
    assert (params["dbname"], params["host"], params["application_name"]) == ("a", "b", "who")
    # What the installation says goes before our own bounds on time.
    assert params["connect_timeout"] == 99
    assert params["keepalives"] == 1
    assert not {"cursor_factory", "context", "prepare_threshold"} & set(params)
