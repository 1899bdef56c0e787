"""Whose presence a socket is told, and when."""

import json
from typing import Any
from uuid import UUID

from chat.socket.presence import Presences, State
from chat.socket.watching import Watching
from protocol.states import PersonStatusState, PresenceState

ALICE, BOB = UUID(int=1), UUID(int=2)
LUNCH = PersonStatusState(emoji="🍜", text="at lunch", until=None)


class Ears:
    """Watching sockets, by name, and what they were told."""

    def __init__(self) -> None:
        self.presences = Presences()
        self.watching = Watching(self.presences)

    def watch(self, name: str, *people: UUID, by_sharing: bool = False) -> list[PresenceState]:
        return self.watching.watch(name, dict.fromkeys(people), by_sharing=by_sharing)

    def are(self, state: State, *people: UUID) -> None:
        for person in people:
            self.presences.said(person, state)
        self.watching.changed(self.presences.changed)
        self.presences.changed.clear()

    def told(self, now: float) -> dict[str, list[tuple[UUID, str]]]:
        """What each is told at this moment."""
        return {name: _people(event) for name, event in self.watching.frames(now)}


def _people(event: dict[str, Any]) -> list[tuple[UUID, str]]:
    people = json.loads(event["frame"])["people"]
    return [(UUID(person["user"]), person["presence"]) for person in people]


def test_a_socket_is_told_of_those_it_watches_and_of_nobody_else() -> None:
    ears = Ears()
    assert [state.presence for state in ears.watch("desk", ALICE)] == ["offline"]
    ears.watch("phone", BOB)
    ears.are(State.ACTIVE, ALICE)
    assert ears.told(0) == {"desk": [(ALICE, "active")]}
    ears.watch("desk", BOB)
    ears.are(State.IDLE, ALICE)
    assert ears.told(10) == {}
    ears.are(State.ACTIVE, BOB)
    assert set(ears.told(20)) == {"desk", "phone"}


def test_a_client_hears_of_all_in_one_frame_every_two_seconds_at_most() -> None:
    ears = Ears()
    people = [UUID(int=number) for number in range(200)]
    ears.watch("desk", *people)
    frames = []
    for tick in range(100):
        state = State.IDLE if tick % 2 else State.ACTIVE
        ears.are(state, *people[tick % 7 :: 3])
        frames += [tick for told in ears.told(tick / 10).values() if told]
    assert len(frames) == 5


def test_watching_others_again_and_again_brings_no_frame_sooner() -> None:
    ears = Ears()
    ears.watch("desk", ALICE)
    ears.are(State.ACTIVE, ALICE)
    assert ears.told(0)
    ears.watch("desk", ALICE)
    ears.are(State.IDLE, ALICE)
    assert ears.told(1) == {}
    assert ears.told(2) == {"desk": [(ALICE, "idle")]}


def test_those_who_are_told_the_same_are_given_the_same_object() -> None:
    ears = Ears()
    for name in ("one", "two", "three"):
        ears.watch(name, ALICE)
    ears.are(State.ACTIVE, ALICE)
    assert len({id(event) for _, event in ears.watching.frames(0)}) == 1


def test_whoever_is_back_before_it_was_told_is_not_told_of() -> None:
    ears = Ears()
    ears.are(State.ACTIVE, ALICE)
    ears.watch("desk", ALICE)
    ears.are(State.OFFLINE, ALICE)
    ears.are(State.ACTIVE, ALICE)
    assert ears.told(0) == {}


def test_what_somebody_says_is_told_with_how_they_are() -> None:
    ears = Ears()
    ears.watch("desk", ALICE)
    ears.watching.says(ALICE, LUNCH)
    ((_, event),) = ears.watching.frames(0)
    (person,) = json.loads(event["frame"])["people"]
    assert person["status"] == {"emoji": "🍜", "text": "at lunch", "until": None}
    assert ears.watch("phone", BOB, ALICE)[1].status is None


def test_a_socket_that_is_gone_watches_nobody() -> None:
    ears = Ears()
    ears.watch("desk", ALICE, BOB)
    ears.are(State.ACTIVE, ALICE)
    ears.watching.forget("desk")
    ears.watching.forget("desk")
    assert ears.told(0) == {}
    assert not ears.watching


def test_whoever_may_not_be_seen_any_more_looks_offline_and_stays_so() -> None:
    ears = Ears()
    ears.are(State.ACTIVE, ALICE, BOB)
    ears.watch("guest", ALICE, BOB, by_sharing=True)
    ears.watching.left(ALICE)
    ears.are(State.IDLE, ALICE)
    assert ears.told(0) == {}
    assert ears.watching.take_doubted(9) == {"guest": [ALICE, BOB]}
    ears.are(State.IDLE, BOB)
    assert ears.told(1) == {}
    ears.watching.keep("guest", [ALICE, BOB], [BOB])
    assert ears.told(2) == {"guest": [(ALICE, "offline"), (BOB, "idle")]}
    ears.are(State.ACTIVE, ALICE)
    assert ears.told(9) == {}


def test_a_right_that_hangs_on_a_shared_room_is_looked_at_when_one_comes_back() -> None:
    ears = Ears()
    ears.watch("guest", ALICE, by_sharing=True)
    ears.watch("member", ALICE)
    ears.are(State.ACTIVE, ALICE)
    assert ears.told(0) == {"member": [(ALICE, "active")]}
    assert set(ears.watching.take_doubted(9)) == {"guest"}
    ears.watching.keep("guest", [ALICE], [ALICE])
    assert ears.told(0) == {"guest": [(ALICE, "active")]}
