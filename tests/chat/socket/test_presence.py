"""Who is here, by what several processes say of their own people."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from chat.socket.presence import LINGER, MOST, Presences, State

ALICE, BOB = UUID(int=1), UUID(int=2)
GONE, IDLE, ACTIVE = State.OFFLINE, State.IDLE, State.ACTIVE


class Process:
    """A process whose words the others hear, unless they are lost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.presences = Presences()
        self.heard_all = True

    def says(self, now: float, *others: "Process", lost: Iterable["Process"] = ()) -> None:
        """Say what is new; those who notice that they missed something ask for all of it."""
        self.tells(self.presences.take_news(), now, *others, lost=lost)

    def tells(
        self,
        words: dict[str, Any],
        now: float,
        *others: "Process",
        lost: Iterable["Process"] = (),
    ) -> None:
        self.presences.echoed(now)
        for other in others:
            if other not in lost:
                other.heard_all = other.presences.heard(self.name, words, now)

    def tells_all(self, now: float, *others: "Process") -> None:
        for part in self.presences.everyone():
            self.tells(part, now, *others)


def test_a_person_is_as_present_as_in_the_process_where_they_are_most() -> None:
    one, two, three = Process("one"), Process("two"), Process("three")
    one.presences.opened(ALICE)
    two.presences.said(ALICE, ACTIVE)
    one.says(0, three)
    two.says(0, three)
    assert three.presences.state(ALICE) is ACTIVE
    two.presences.said(ALICE, GONE)
    two.says(1, three)
    assert three.presences.state(ALICE) is IDLE
    one.presences.said(ALICE, GONE)
    one.says(2, three)
    assert three.presences.state(ALICE) is GONE


def test_ten_thousand_who_come_within_a_second_are_two_messages() -> None:
    one, two = Process("one"), Process("two")
    people = [UUID(int=number) for number in range(10_000)]
    for person in people:
        one.presences.opened(person)
    words = []
    while one.presences.unsaid:
        words.append(one.presences.take_news())
        one.tells(words[-1], 0, two)
    assert len(words) == 10_000 // MOST
    assert two.heard_all
    assert {two.presences.state(person) for person in people} == {IDLE}


def test_whoever_comes_and_goes_within_a_second_is_one_word() -> None:
    one, two = Process("one"), Process("two")
    for _ in range(20):
        one.presences.said(ALICE, ACTIVE)
        one.presences.said(ALICE, IDLE)
    assert one.presences.take_news()["people"] == {"idle": ALICE.hex}
    assert not one.presences.unsaid
    assert two.presences.state(ALICE) is GONE


def test_whoever_comes_back_soon_was_never_away() -> None:
    one = Process("one")
    one.presences.said(ALICE, ACTIVE)
    one.presences.take_news()
    one.presences.closed(ALICE, 0)
    one.presences.opened(ALICE)
    one.presences.settle(LINGER - 1, lambda _: IDLE)
    assert not one.presences.unsaid
    assert one.presences.state(ALICE) is ACTIVE
    one.presences.settle(LINGER, lambda _: ACTIVE)
    assert not one.presences.unsaid


def test_whoever_does_not_come_back_is_gone_after_a_while() -> None:
    one = Process("one")
    for person in (ALICE, BOB):
        one.presences.said(person, ACTIVE)
    one.presences.closed(ALICE, 0)
    one.presences.closed(BOB, 1)
    one.presences.closed(ALICE, 2)
    one.presences.settle(1 + LINGER, lambda _: GONE)
    assert (one.presences.state(ALICE), one.presences.state(BOB)) == (ACTIVE, GONE)
    assert not one.presences.settled
    one.presences.settle(2 + LINGER, lambda _: GONE)
    assert one.presences.state(ALICE) is GONE
    assert one.presences.settled


def test_what_was_missed_is_noticed_and_made_good() -> None:
    one, two = Process("one"), Process("two")
    one.presences.opened(ALICE)
    one.says(0, two)
    one.presences.said(ALICE, GONE)
    one.says(1, two, lost=[two])
    assert two.presences.state(ALICE) is IDLE
    one.says(2, two)
    assert not two.heard_all
    one.tells_all(3, two)
    one.says(4, two)
    assert two.heard_all
    assert two.presences.state(ALICE) is GONE
    assert ALICE in two.presences.changed


def test_a_process_that_begins_asks_for_those_who_were_there_before() -> None:
    one, two = Process("one"), Process("two")
    for number in range(MOST + 1):
        one.presences.opened(UUID(int=number))
    one.presences.said(ALICE, ACTIVE)
    while one.presences.unsaid:
        one.says(0)
    one.says(1, two)
    assert not two.heard_all
    one.tells_all(1, two)
    one.says(2, two)
    assert two.heard_all
    assert two.presences.state(ALICE) is ACTIVE
    assert two.presences.state(UUID(int=MOST)) is IDLE


def test_a_killed_process_shows_nobody_away_who_comes_to_another_within_half_a_minute() -> None:
    one, two, three = Process("one"), Process("two"), Process("three")
    one.presences.said(ALICE, ACTIVE)
    one.presences.said(BOB, ACTIVE)
    one.says(0, two, three)
    # From here on nothing is heard of it.
    seen = set()
    for now in range(1, 60):
        if now == 12:
            two.presences.said(ALICE, ACTIVE)
        two.says(now, three)
        three.says(now, two)
        for process in (two, three):
            process.presences.forget_silent()
            seen.add(process.presences.state(ALICE))
        assert three.presences.state(BOB) is (ACTIVE if now <= 30 else GONE)
    assert seen == {ACTIVE}


def test_while_the_layer_is_away_nobody_is_forgotten() -> None:
    one, two = Process("one"), Process("two")
    one.presences.opened(ALICE)
    one.says(0, two)
    two.says(0)
    # Neither the other's words come nor one's own, for an hour.
    two.presences.forget_silent()
    one.says(3600, two)
    two.says(3600)
    two.presences.forget_silent()
    assert two.presences.state(ALICE) is IDLE


def test_what_a_process_wrote_down_holds_until_it_is_heard() -> None:
    two, one = Process("two"), Process("one")
    one.presences.said(BOB, ACTIVE)
    one.says(0)
    two.presences.adopt("one", {ALICE: ACTIVE}, 0)
    assert two.presences.state(ALICE) is ACTIVE
    one.says(1, two)
    assert not two.heard_all
    one.tells_all(1, two)
    assert (two.presences.state(ALICE), two.presences.state(BOB)) == (GONE, ACTIVE)
    two.presences.adopt("one", {ALICE: ACTIVE}, 2)
    assert two.presences.state(ALICE) is GONE
