"""Spreading touches to this process's people."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat.socket import pending_touches
from chat.socket import roster as module
from chat.socket.pending_touches import MOST
from chat.socket.roster import Roster
from chat.unread import Touch

ALICE, BOB = UUID(int=1), UUID(int=2)
LUNCH, DINNER = UUID(int=10).hex, UUID(int=11).hex


class Ear:
    """A socket that keeps what it hears."""

    def __init__(self) -> None:
        self.active = False
        self.heard: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.twice = asyncio.Event()

    def push(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        if len(self.heard) == 2:
            self.twice.set()

    async def membership_ended(self, event: dict[str, Any]) -> None:
        self.ended.append(event["conversation"])

    @property
    def rooms(self) -> list[dict[str, Any]]:
        """What it was told of, in order."""
        return [room for event in self.heard for room in json.loads(event["frame"])["rooms"]]


class Here(Roster):
    """A roster that listens to nothing."""

    async def _listen(self) -> None:
        return


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "in_thread", _at_once)
    monkeypatch.setattr(module, "until_available", _at_once)


@pytest.fixture
async def here() -> AsyncIterator[Roster]:
    roster = Here()
    yield roster
    roster._stop()


async def open_for(roster: Roster, person: UUID, *conversations: str, feed: int = 1) -> Ear:
    ear = Ear()
    await roster.opened(person, ear, feed=feed, conversations=conversations)
    return ear


def touch(conversation: str, seq: int = 1, **values: Any) -> Touch:
    moment = f"2026-01-01T00:00:{seq % 60:02}.000000Z"
    return Touch(conversation, seq=seq, number=seq, active_at=moment, **values)


async def test_a_touch_reaches_every_socket_of_whoever_is_in_the_conversation(
    here: Roster,
) -> None:
    phone, desk = await open_for(here, ALICE, LUNCH), await open_for(here, ALICE)
    bob = await open_for(here, BOB, DINNER)
    here.touched(touch(LUNCH, preview="hi", title="Lunch"))
    (room,) = phone.rooms
    assert UUID(room["conversation"]).hex == LUNCH
    assert (room["preview"], room["title"], room["number"], room["read"]) == (
        "hi",
        "Lunch",
        1,
        None,
    )
    assert desk.rooms == phone.rooms
    assert bob.rooms == []


async def test_those_who_are_told_the_same_are_sent_the_same_object(here: Roster) -> None:
    ears = [await open_for(here, UUID(int=100 + number), LUNCH) for number in range(3)]
    here.touched(touch(LUNCH))
    assert len({id(ear.heard[0]) for ear in ears}) == 1


async def test_whoever_wrote_is_told_how_far_they_have_read_and_nobody_else(
    here: Roster,
) -> None:
    alice, bob = await open_for(here, ALICE, LUNCH), await open_for(here, BOB, LUNCH)
    here.touched(touch(LUNCH, seq=7, read={BOB.hex: 7}))
    assert [alice.rooms[0]["read"], bob.rooms[0]["read"]] == [None, 7]


async def test_whatever_moves_a_client_hears_once_a_second_at_most(
    here: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    alice = await open_for(here, ALICE, LUNCH, DINNER)
    for seq in range(1, 6):
        here.touched(touch(LUNCH, seq, removed=[seq]))
        here.touched(touch(DINNER, seq))
    assert len(alice.heard) == 1
    now += 0.5
    here._pending.tell()
    assert len(alice.heard) == 1
    now += 0.5
    here._pending.tell()
    assert len(alice.heard) == 2
    told = {UUID(room["conversation"]).hex: room for room in alice.rooms[1:]}
    assert (told[LUNCH]["seq"], told[LUNCH]["removed"]) == (5, [2, 3, 4, 5])
    assert told[DINNER]["seq"] == 5


async def test_what_is_held_back_is_told_without_being_asked(
    here: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_touches, "INTERVAL", 0.01)
    alice = await open_for(here, ALICE, LUNCH)
    here.touched(touch(LUNCH, 1))
    here.touched(touch(LUNCH, 2))
    async with asyncio.timeout(10):
        await alice.twice.wait()
    assert [room["seq"] for room in alice.rooms] == [1, 2]


async def test_more_than_fits_is_told_in_the_next(
    here: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    conversations = [uuid4().hex for _ in range(MOST + 5)]
    alice = await open_for(here, ALICE, LUNCH, *conversations)
    here.touched(touch(LUNCH))
    for conversation in conversations:
        here.touched(touch(conversation))
    for count in (MOST, 5):
        now += 1
        here._pending.tell()
        assert len(json.loads(alice.heard[-1]["frame"])["rooms"]) == count
    assert len({room["conversation"] for room in alice.rooms}) == MOST + 6


async def test_one_who_joins_hears_and_one_who_leaves_does_not(here: Roster) -> None:
    alice, bob = await open_for(here, ALICE, LUNCH), await open_for(here, BOB)
    here.joined(BOB, LUNCH)
    here.joined(BOB, LUNCH)
    here.left(ALICE, LUNCH)
    here.left(ALICE, DINNER)
    assert (here.is_in(BOB, LUNCH), here.is_in(ALICE, LUNCH)) == (True, False)
    here.touched(touch(LUNCH))
    assert (len(bob.heard), alice.heard) == (1, [])


async def test_what_was_not_told_before_a_leave_is_not_told_after_it(
    here: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    alice = await open_for(here, ALICE, LUNCH, DINNER)
    here.touched(touch(DINNER))
    here.touched(touch(LUNCH, preview="secret"))
    here.left(ALICE, LUNCH)
    now += 1
    here._pending.tell()
    assert "secret" not in json.dumps(alice.heard)


async def test_with_the_last_socket_a_person_is_forgotten(here: Roster) -> None:
    phone, desk = await open_for(here, ALICE, LUNCH), await open_for(here, ALICE)
    here.closed(ALICE, phone)
    here.touched(touch(LUNCH))
    assert (phone.heard, len(desk.heard)) == ([], 1)
    here.closed(ALICE, desk)
    here.closed(ALICE, desk)
    assert not here.is_in(ALICE, LUNCH)
    assert not here._rooms
    # Their numbers are given to others, who are not taken for them.
    bob = await open_for(here, BOB, DINNER)
    here.touched(touch(LUNCH))
    here.touched(touch(DINNER))
    assert len(bob.rooms) == 1


async def test_a_deletion_reaches_everyone_who_was_in_it(here: Roster) -> None:
    alice, bob = await open_for(here, ALICE, LUNCH), await open_for(here, BOB, LUNCH, DINNER)
    charlie = await open_for(here, UUID(int=3), DINNER)
    await here._take({"type": "room.deleted", "conversation": LUNCH, "frame": "{}"})
    assert (alice.ended, bob.ended, charlie.ended) == ([LUNCH], [LUNCH], [])
    here.touched(touch(LUNCH))
    assert alice.heard == bob.heard == []


async def test_after_a_gap_everyones_conversations_are_read_again(
    here: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await open_for(here, ALICE, LUNCH), await open_for(here, BOB, LUNCH)
    asked: list[list[UUID]] = []

    def conversations(people: list[UUID]) -> dict[UUID, tuple[int, list[str]]]:
        asked.append(people)
        return {ALICE: (2, [DINNER]), BOB: (2, [])}

    monkeypatch.setattr(module, "conversations_of", conversations)
    await here._take({"type": "layer.gap"})
    assert asked == [[ALICE, BOB]]
    here.touched(touch(LUNCH))
    here.touched(touch(DINNER))
    assert (len(alice.rooms), bob.rooms) == (1, [])


async def test_what_came_before_a_socket_was_counted_in_is_found_when_its_client_asks(
    here: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []

    def conversations(people: list[UUID]) -> dict[UUID, tuple[int, list[str]]]:
        asked.extend(people)
        return {ALICE: (3, [LUNCH, DINNER])}

    monkeypatch.setattr(module, "conversations_of", conversations)
    await open_for(here, ALICE, LUNCH, feed=1)
    await here.catch_up(ALICE, 1)
    assert (asked, here.is_in(ALICE, DINNER)) == ([], False)
    await here.catch_up(ALICE, 3)
    assert (asked, here.is_in(ALICE, DINNER)) == ([ALICE], True)
    # Heard in order, there is nothing to find.
    here.heard(ALICE, {"seq": 4, "joined": [], "gone": [DINNER]})
    await here.catch_up(ALICE, 4)
    assert (asked, here.is_in(ALICE, DINNER)) == ([ALICE], False)
    here.heard(ALICE, {"seq": 6, "joined": [], "gone": []})
    await here.catch_up(ALICE, 6)
    assert asked == [ALICE, ALICE]


async def test_an_older_read_does_not_undo_what_was_heard_since(here: Roster) -> None:
    await open_for(here, ALICE, LUNCH, feed=1)
    here.heard(ALICE, {"seq": 2, "joined": [DINNER], "gone": [LUNCH]})
    await open_for(here, ALICE, LUNCH, feed=1)
    assert (here.is_in(ALICE, LUNCH), here.is_in(ALICE, DINNER)) == (False, True)


async def test_a_person_in_many_conversations_costs_a_few_bytes_for_each(here: Roster) -> None:
    await open_for(here, ALICE, *(uuid4().hex for _ in range(1000)))
    person = here._people[ALICE]
    assert person.rooms.itemsize * len(person.rooms) == 4000
    assert all(room.people.itemsize == 4 for room in here._rooms.values())
