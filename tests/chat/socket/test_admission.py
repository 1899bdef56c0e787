"""Letting handshakes in, and asking those who would wait too long to come again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from chat.socket import auth
from chat.socket.admission import Admission, SentBack
from core import batches
from core.threads import in_thread
from tests.chat.socket.client import Socket

pytestmark = pytest.mark.django_db(transaction=True)


async def test_so_many_are_let_in_at_once_and_the_others_in_the_order_they_came() -> None:
    gate = Admission(at_once=2)
    first, second = await gate.enter(), await gate.enter()
    came: list[int] = []

    async def come(number: int) -> Callable[[], None]:
        leave = await gate.enter()
        came.append(number)
        return leave

    waiting = [asyncio.create_task(come(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert (came, gate.waiting) == ([], 3)
    first()
    # Once is enough.
    first()
    leave = await waiting[0]
    assert came == [0]
    second()
    leave()
    for task in waiting[1:]:
        (await task)()
    assert (came, gate.waiting) == ([0, 1, 2], 0)


async def test_whoever_would_wait_too_long_is_told_when_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Admission(at_once=1, longest_wait=1.0)
    gate._took = 0.5
    leave = await gate.enter()
    waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    told = []
    for _ in range(20):
        with pytest.raises(SentBack) as sent:
            await gate.enter()
        told.append(sent.value.after_ms)
    assert min(told) >= 1000
    # The more were sent back, the longer it takes to serve them all.
    assert 1000 < max(told) <= 1000 + (3 + 20) * 500
    assert len(set(told)) > 10
    leave()
    for task in waiting:
        (await task)()


async def test_one_that_gives_up_waiting_leaves_its_place_to_others() -> None:
    gate = Admission(at_once=1)
    leave = await gate.enter()
    impatient = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert gate.waiting == 0
    leave()
    (await gate.enter())()


async def test_a_client_that_comes_at_a_bad_time_is_sent_back_and_not_left_hanging(
    alice: User, token_for: Callable[[User], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await in_thread(token_for, alice)
    gate = Admission(at_once=1, longest_wait=-0.001)
    monkeypatch.setattr(auth, "admission", lambda: gate)
    async with Socket(token) as socket:
        frame = await socket.next()
        assert (frame["type"], frame["after_ms"] >= 0) == ("reconnect", True)
        closed = await socket.next()
        assert (closed["code"], closed["reason"]) == (1012, "busy")


async def test_a_greeted_socket_makes_room_for_the_next(
    alice: User, token_for: Callable[[User], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await in_thread(token_for, alice)
    gate = Admission(at_once=1)
    monkeypatch.setattr(auth, "admission", lambda: gate)
    async with Socket(token) as one:
        await one.until("hello")
        async with Socket(token) as other:
            await other.until("hello")


async def test_a_refused_one_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Admission(at_once=1)
    monkeypatch.setattr(auth, "admission", lambda: gate)
    for _ in range(3):
        async with Socket("not.a.token") as socket:
            assert (await socket.next())["code"] == 4001
    (await gate.enter())()


async def test_a_handshake_that_the_database_does_not_finish_is_given_up(
    alice: User, token_for: Callable[[User], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await in_thread(token_for, alice)
    monkeypatch.setattr(auth, "HANDSHAKE_SECONDS", 0.05)
    held = asyncio.Event()

    async def never(*_: Any) -> None:
        await held.wait()

    monkeypatch.setattr(batches, "in_thread", never)
    async with Socket(token) as socket:
        closed = await socket.next()
        assert (closed["code"], closed["reason"]) == (1012, "unavailable")
