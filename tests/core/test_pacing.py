"""Work that is asked for often and done seldom."""

import threading
from uuid import uuid4

import pytest
from django.db import DatabaseError

from core.pacing import Paced

pytestmark = pytest.mark.django_db


def test_paced_work_is_called_again_after_its_pause_and_not_twice_for_two_requests() -> None:
    calls: list[object] = []
    entered, go_on, again = threading.Event(), threading.Event(), threading.Event()

    def act(key: object) -> float:
        calls.append(key)
        entered.set()
        if len(calls) == 1:
            go_on.wait(20)
            return 0.01
        again.set()
        return 0.0

    paced, key = Paced("test", act), uuid4()
    paced.soon(key)
    assert entered.wait(20)
    paced.soon(key)
    paced.soon(key)
    go_on.set()
    assert again.wait(20)
    paced.stop()
    assert calls == [key, key]


def test_paced_work_outlives_a_database_that_is_away() -> None:
    done = threading.Event()
    bad = uuid4()

    def act(key: object) -> float:
        if key == bad:
            raise DatabaseError
        done.set()
        return 0.0

    paced = Paced("test", act)
    paced.soon(bad)
    paced.soon(uuid4())
    assert done.wait(20)
    paced.stop()
