"""Who is typing, as followers are told of it."""

import json
from itertools import pairwise
from typing import Any
from uuid import UUID

from chat.socket.typists import Typists

ROOM, OTHER = UUID(int=10).hex, UUID(int=11).hex
ALICE, BOB = UUID(int=1), UUID(int=2)


class Process:
    """Typists of one process that hears what it says itself."""

    def __init__(self) -> None:
        self.typists = Typists()
        self.told: list[dict[str, Any]] = []

    def at(self, now: float) -> list[dict[str, Any]]:
        """What followers are told at this moment."""
        for conversation, acts in self.typists.take_acts().items():
            self.typists.heard(conversation, acts, now)
        frames = [json.loads(event["frame"]) for _, event in self.typists.frames(now)]
        self.told += frames
        return frames

    def types(self, user: UUID, now: float, *, active: bool = True, room: str = ROOM) -> None:
        self.typists.typed(user, user, room, now, active=active)


def users(frames: list[dict[str, Any]]) -> list[list[UUID]]:
    return [[UUID(user) for user in frame["users"]] for frame in frames]


def test_fifty_who_type_on_cost_a_follower_one_frame_a_second_at_most() -> None:
    process = Process()
    for tick in range(100):
        process.types(UUID(int=100 + tick % 50), tick / 10)
        process.at(tick / 10)
    assert len(process.told) <= 10
    assert process.told[-1]["count"] == 50
    assert max(len(frame["users"]) for frame in process.told) == 5


def test_whoever_says_no_more_types_no_longer_after_six_seconds() -> None:
    process = Process()
    process.types(ALICE, 0)
    assert users(process.at(0)) == [[ALICE]]
    assert process.at(5.9) == []
    assert users(process.at(6)) == [[]]
    assert process.at(7) == []
    assert not process.typists


def test_those_who_type_on_are_told_of_again_before_clients_forget_them() -> None:
    process = Process()
    moments = []
    for second in range(20):
        if second % 3 == 0:
            process.types(ALICE, second)
        if process.at(second):
            moments.append(second)
    assert max(later - one for one, later in pairwise(moments)) < 6


def test_whoever_stops_or_is_gone_types_no_longer() -> None:
    process = Process()
    process.types(ALICE, 0)
    process.types(BOB, 0)
    assert users(process.at(0)) == [[ALICE, BOB]]
    process.types(ALICE, 1, active=False)
    assert users(process.at(1)) == [[BOB]]
    process.typists.closed(BOB)
    assert users(process.at(2)) == [[]]


def test_a_socket_types_in_one_conversation_at_a_time() -> None:
    process = Process()
    process.types(ALICE, 0)
    process.at(0)
    process.types(ALICE, 1, room=OTHER)
    frames = process.at(1)
    assert {UUID(frame["conversation"]).hex: frame["count"] for frame in frames} == {
        ROOM: 0,
        OTHER: 1,
    }


def test_to_stop_what_was_not_begun_says_nothing() -> None:
    process = Process()
    process.types(ALICE, 0, active=False)
    process.typists.closed(ALICE)
    assert not process.typists.unsaid
