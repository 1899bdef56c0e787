"""State before + the events of a change == state fetched afresh, for every service. After Zulip.

Two reducers are held to it: `tests.faults.known`, by which the fault suite's clients live, and the
frontend's own, which Vitest runs over what was recorded here.
"""

import importlib
import inspect
import os
import pkgutil
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chat.services
from accounts.models import User
from chat import unread
from chat.models import (
    Assistant,
)
from chat.services import (
    conversations,
    reactions,
    reply_actions,
    staff,
    topic_rows,
)
from core import publishing
from core.publishing import Publication
from protocol import limits
from tests.chat.recordings import play_to_the_frontend
from tests.chat.scenarios import SCENARIOS, kind_of, record
from tests.chat.sequences import play
from tests.chat.world import World
from tests.faults.known import Frame, Known

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def open_world(
    alice: User,
    bob: User,
    charlie: User,
    assistant: Assistant,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., World]]:
    """`open_world()`: alice's and bob's group with the assistant, the only one that is heard.

    With `kind="assistant"`, alice's conversation with the assistant: whatever bob does there,
    she does.
    """
    worlds: list[World] = []

    def hear(*publications: Publication) -> None:
        for world in worlds[-1:]:
            world.heard(*publications)

    def open_one(kind: str = "group") -> World:
        conversation = conversations.create_conversation(
            user=alice, kind=kind, assistant="assistant", members=[bob.pk] * (kind != "assistant")
        )
        worlds.append(
            World(
                conversation,
                bob=alice if kind == "assistant" else bob,
                alice=alice,
                charlie=charlie,
            )
        )
        return worlds[-1]

    monkeypatch.setattr(publishing, "publish_now", hear)
    monkeypatch.setattr(unread, "_touch", lambda touch: None)
    # Counting is an act of its own here.
    monkeypatch.setattr(reactions, "INTERVAL", 0.0)
    monkeypatch.setattr(reactions._counting, "soon", lambda conversation: None)
    monkeypatch.setattr(topic_rows, "INTERVAL", 0.0)
    monkeypatch.setattr(topic_rows._refreshing, "soon", lambda topic: None)
    yield open_one
    connection.close()


def test_every_service_that_changes_a_conversation_is_among_the_scenarios() -> None:
    modules = [
        importlib.import_module(f"chat.services.{found.name}")
        for found in pkgutil.iter_modules(chat.services.__path__)
    ]
    assert reply_actions in modules
    services = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_")
        and function.__module__ == module.__name__
        and "changing(" in inspect.getsource(function)
    } - {"changing"}
    # What a deletion leaves cannot be fetched, and before a creation there is nothing.
    apart = {"delete_conversation", "delete_conversation_as_staff", "create_conversation"}
    apart |= {"open_direct", "delete_inner"}
    assert len(services) > 10
    # These change nothing that anyone else sees.
    services |= {"mark_read", "mark_unread", "change_mine"}
    assert services - apart == {
        name.replace(",", "").split("'")[0].split()[0] for name in SCENARIOS
    }


def loaded(answer: Frame, me: str = "") -> Known:
    """A client that has just come."""
    known = Known(me)
    known.subscribing()
    known.load(answer)
    return known


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_events_of_a_change_lead_to_the_state_fetched_afresh(
    open_world: Callable[..., World], scenario: str
) -> None:
    world = open_world(kind_of(scenario))
    before, events, after = record(world, scenario)

    known = loaded(before, str(world.alice.pk))
    for event in events:
        known.event(event)

    assert known.view() == loaded(after).view()
    assert not known.has_gap
    # Nothing was told that did not happen, and each change in its own event.
    told = [event["seq"] for event in events if event["type"] != "reply.delta"]
    if told and max(told) > before["seq"]:
        assert told == list(range(before["seq"] + 1, after["seq"] + 1))
    else:
        assert after["seq"] == before["seq"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_who_missed_the_events_is_brought_to_the_same_state(
    open_world: Callable[..., World], scenario: str
) -> None:
    world = open_world(kind_of(scenario))
    before, events, after = record(world, scenario)

    known = loaded(before, str(world.alice.pk))
    known.subscribing()
    known.load(world.fetch(since=known.since))
    # Late ones change nothing any more.
    for event in reversed(events):
        known.event(event)

    assert known.view() == loaded(after).view()
    assert not known.has_gap


@pytest.mark.parametrize("by_staff", [False, True])
def test_a_deleted_conversation_is_known_to_be_gone(
    open_world: Callable[..., World], by_staff: bool
) -> None:
    world = open_world()
    known = loaded(world.fetch())
    world.published.clear()

    if by_staff:
        staff.delete_conversation_as_staff(conversation_id=world.id)
    else:
        conversations.delete_conversation(user=world.alice, conversation_id=world.id)

    for event in world.published:
        known.event(event)
    assert known.deleted


def test_a_new_conversation_is_whole_by_its_first_events(
    open_world: Callable[..., World],
) -> None:
    """Who hears everything from the start knows what is fetched: members are told one by one."""
    fetched = open_world().fetch()

    assert fetched["seq"] == len(fetched["members"])
    assert sorted(row["seq"] for row in fetched["members"]) == [1, 2, 3]


@pytest.mark.timeout(240)
@settings(
    max_examples=20,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kind=st.sampled_from(["group", "assistant", "forum"]),
    seed=st.integers(0, 2**32),
    steps=st.integers(5, 30),
)
def test_whatever_happens_and_whoever_reconnects_all_know_the_same(
    open_world: Callable[..., World], kind: str, seed: int, steps: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Small, so that answers come in parts and first loads leave history out.
        patch.setattr(limits, "MAX_CHANGES", 4)
        patch.setattr(limits, "PAGE", 6)
        for client, fetched in play(open_world(kind), random.Random(seed), steps):
            fresh = loaded(fetched)
            assert client.known.view(fresh.oldest) == fresh.view(client.known.oldest)
            assert not client.known.has_gap


# --- The frontend's own reducer --------------------------------------------------------------


@pytest.mark.timeout(240)
def test_the_frontends_reducer_comes_to_the_same_states(
    open_world: Callable[..., World], tmp_path: Path
) -> None:
    cases: list[Frame] = []
    for scenario in SCENARIOS:
        world = open_world(kind_of(scenario))
        before, events, after = record(world, scenario)
        me = str(world.alice.pk)
        inputs = [{"type": "subscribing"}, {"type": "changes", "changes": before}]
        inputs += [{"type": "event", "event": event} for event in events]
        cases.append({"name": scenario, "me": me, "inputs": inputs, "expected": after})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_CHANGES", 4)
        patch.setattr(limits, "PAGE", 6)
        for seed in range(6):
            world = open_world(["group", "assistant", "forum"][seed % 3])
            for number, (client, fetched) in enumerate(play(world, random.Random(seed), 30)):
                name = f"random sequence {seed}, client {number}"
                cases.append(
                    {
                        "name": name,
                        "me": client.me,
                        "inputs": client.inputs,
                        "expected": fetched,
                    }
                )
    play_to_the_frontend("equivalence.test.ts", cases, tmp_path)
