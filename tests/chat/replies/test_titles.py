"""Titles, from models large and small."""

import json
import urllib.request
from typing import Any

import pytest

from chat.llm import Timeouts
from chat.models import Conversation
from chat.replies import titles
from chat.replies.titles import MAX_CHARACTERS, clean_title, fallback_title
from chat.services.conversations import change_conversation, create_conversation, name_conversation
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from tests.chat.replies.conftest import Follower, Room, ended, eventually
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Capital of France", "Capital of France"),
        ('  "Capital of France."\n', "Capital of France"),
        ("Title: Capital of France", "Capital of France"),
        ("**Title:** Capital of France", "Capital of France"),
        ("# Capital of France\n\nThis title says …", "Capital of France"),
        ("Hauptstädte\tEuropas", "Hauptstädte Europas"),
        ("", ""),
        ("...\n", ""),
        ("Sure, here is a title for the conversation that you have shown me: France", ""),
        ("x" * (MAX_CHARACTERS + 1), ""),
    ],
)
def test_title_is_found_in_what_the_model_said(said: str, title: str) -> None:
    assert clean_title(said) == title


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("What is the capital of France?", "What is the capital of France?"),
        ("a b c d e f g h i j k l", "a b c d e f g h i j…"),
        ("x" * 100, "x" * MAX_CHARACTERS),
        ("two\nlines", "two lines"),
    ],
)
def test_first_words_stand_in_for_a_title(asked: str, title: str) -> None:
    assert fallback_title(asked) == title


@pytest.fixture
def untitled(room: Room) -> Room:
    """The room, before it has a title."""
    Conversation.objects.filter(pk=room.conversation.pk).update(title="")
    return room


async def test_first_exchange_gets_a_title_and_later_ones_none(
    untitled: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    fake_model.set_default(directive(pieces=["Big ", "Apples"]))
    await ended(await in_thread(untitled.say, "How big do apples get?"))
    frame = await follower.until(lambda frame: frame["type"] == "conversation.updated")
    assert frame["state"]["title"] == "Big Apples"
    assert frame["state"]["changed_seq"] == frame["seq"]
    await ended(await in_thread(untitled.say, "And pears?"))
    assert len(fake_model.records) == 3


async def test_babbling_model_gets_no_say(
    untitled: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    fake_model.set_default(directive(pieces=["blah "] * 200))
    await in_thread(untitled.say, "How big do apples get?")
    title = await eventually(lambda: Conversation.objects.get(pk=untitled.conversation.pk).title)
    assert title == "How big do apples get?"


async def test_failing_model_does_not_keep_a_conversation_nameless(
    untitled: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    await in_thread(untitled.say, "Apples? ", tokens=40, rate=50)
    await eventually(lambda: fake_model.records)
    # From here on, and so for the title.
    fake_model.set_default(directive(fault="status:500"))
    title = await eventually(lambda: Conversation.objects.get(pk=untitled.conversation.pk).title)
    assert title.startswith("Apples?")
    assert fake_model.records[-1].status == 500


def test_title_given_by_a_person_stays(room: Room) -> None:
    chat = create_conversation(user=room.user)
    change_conversation(user=room.user, conversation_id=chat.pk, title="Mine")
    assert not name_conversation(conversation_id=chat.pk, title="The model's")
    assert Conversation.objects.get(pk=chat.pk).title == "Mine"


def test_worker_answers_probes(room: Room, start_process: "object") -> None:
    process = start_process()  # type: ignore[operator]
    ready = next(json.loads(line) for line in process.log if "worker_ready" in line)
    with urllib.request.urlopen(f"http://127.0.0.1:{ready['port']}/health/") as response:
        assert json.load(response)["status"] == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{ready['port']}/metrics") as response:
        assert b"chatire_replies_active" in response.read()


async def test_a_title_is_waited_for_no_longer_than_it_is_worth(
    untitled: Room, worker: WorkerProcess, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    stream = titles.stream_reply

    def recorded(*arguments: Any, timeouts: Timeouts) -> Any:
        waited.append(timeouts.total)
        return stream(*arguments, timeouts=timeouts)

    monkeypatch.setattr(titles, "stream_reply", recorded)
    reply = await in_thread(untitled.say, tokens=3)
    await follower.until_status(reply, "complete")
    await eventually(lambda: waited)
    assert waited[0] == 30.0
