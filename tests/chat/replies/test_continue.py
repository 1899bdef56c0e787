"""A reply that ended before its time goes on, in the same message, whatever happens meanwhile."""

import signal
from collections.abc import Callable

from pytest_django import Settings

from chat.models import Assistant, Message
from chat.replies import active
from chat.services.reply_actions import continue_reply, request_stop
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from tests.chat.replies.conftest import (
    Follower,
    Room,
    Subprocess,
    chunks,
    ended,
    eventually,
    reaching,
    text_so_far,
)
from tests.fakes.openai_server import RunningServer


async def stopped(room: Room) -> Message:
    """A reply that was stopped in the middle."""
    reply = await in_thread(room.say, tokens=100, rate=50)
    await eventually(lambda: text_so_far(reply))
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    return await ended(reply)


async def test_continued_reply_ends_with_the_text_of_both_runs(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    before = await stopped(room)
    await in_thread(continue_reply, user=room.user, message_id=before.pk)
    waiting = await follower.until_status(before, "pending")
    assert waiting["content"] == before.content
    state = await follower.until_status(before, "complete")

    said = fake_model.records[1]
    assert state["content"] == before.content + said.text
    assert state["attempt"] > before.attempt
    deltas = follower.deltas(before, attempt=state["attempt"])
    assert "".join(delta["text"] for delta in deltas) == state["content"]
    assert deltas[0]["text"].startswith(before.content)
    assert [delta["index"] for delta in deltas] == list(range(len(deltas)))
    # The model is told what it said, after what it was asked.
    turns = said.body["messages"]
    assert [turn["role"] for turn in turns[-3:]] == ["user", "assistant", "user"]
    assert turns[-2]["content"] == before.content
    # One message, the usage of both runs, nothing left behind.
    done = await in_thread(Message.objects.get, pk=before.pk)
    assert done.input_tokens is not None
    assert before.input_tokens is not None
    assert done.input_tokens > before.input_tokens
    assert done.output_tokens is not None
    assert before.output_tokens is not None
    assert done.output_tokens > before.output_tokens
    assert done.usage_estimated
    assert await in_thread(chunks, done) == []
    assert await in_thread(Message.objects.filter(role="assistant").count) == 1


async def test_who_comes_while_a_continued_reply_streams_sees_all_of_it(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=100, rate=50)
    await eventually(lambda: text_so_far(reply))
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    before = await ended(reply)
    await in_thread(continue_reply, user=room.user, message_id=reply.pk)
    seen = await eventually(
        lambda: text_so_far(reply), lambda text: len(text) > len(before.content)
    )
    assert seen.startswith(before.content)
    # Stopped again, the text of both is kept.
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    done = await ended(reply)
    assert done.status == Message.Status.CANCELLED
    record = fake_model.records[1]
    assert done.content.startswith(seen)
    assert (before.content + record.text).startswith(done.content)


async def test_continued_reply_of_a_killed_worker_begins_again_after_the_old_text(
    room: Room, fake_model: RunningServer, start_process: Callable[..., Subprocess]
) -> None:
    first = start_process()
    reply = await in_thread(room.say, tokens=100, rate=50)
    await eventually(lambda: text_so_far(reply))
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    before = await ended(reply)
    await in_thread(continue_reply, user=room.user, message_id=reply.pk)
    await eventually(lambda: text_so_far(reply), lambda text: len(text) > len(before.content))
    first.kill()
    start_process()
    done = await ended(reply)
    assert done.status == Message.Status.COMPLETE
    assert done.content == before.content + fake_model.records[-1].text


async def test_continued_reply_is_handed_back_with_its_old_text(
    room: Room, fake_model: RunningServer, start_process: Callable[..., Subprocess]
) -> None:
    first = start_process(drain=0)
    reply = await in_thread(room.say, tokens=100, rate=50)
    await eventually(lambda: text_so_far(reply))
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    before = await ended(reply)
    await in_thread(continue_reply, user=room.user, message_id=reply.pk)
    await eventually(lambda: text_so_far(reply), lambda text: len(text) > len(before.content))
    first.send(signal.SIGTERM)
    waiting = await reaching(reply, lambda now: now.status == Message.Status.PENDING)
    assert waiting.content == before.content
    start_process()
    done = await ended(reply)
    assert done.content == before.content + fake_model.records[-1].text


async def test_failed_reply_goes_on_where_its_model_broke_off(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=40, rate=0, fault="error_data_after:10")
    failed = await ended(reply)
    assert (failed.status, bool(failed.content)) == (Message.Status.FAILED, True)
    await in_thread(continue_reply, user=room.user, message_id=reply.pk)
    done = await ended(reply)
    assert (done.status, done.error_code) == (Message.Status.COMPLETE, "")
    assert done.content == failed.content + fake_model.records[-1].text


async def test_reply_that_said_nothing_is_asked_for_as_if_anew(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=10, rate=0, fault="status:400:1")
    failed = await ended(reply)
    assert (failed.status, failed.content) == (Message.Status.FAILED, "")
    await in_thread(continue_reply, user=room.user, message_id=reply.pk)
    done = await ended(reply)
    assert done.content == fake_model.records[-1].text
    assert fake_model.records[-1].body["messages"] == fake_model.records[0].body["messages"]


async def test_long_old_text_comes_in_pieces_that_fit_a_frame(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    before = await stopped(room)
    old = before.content + "long " * 20_000
    await in_thread(
        lambda: Message.objects.filter(pk=before.pk).update(content=old, input_tokens=1)
    )
    await in_thread(continue_reply, user=room.user, message_id=before.pk)
    state = await follower.until_status(before, "complete")
    assert state["content"] == old + fake_model.records[-1].text
    deltas = follower.deltas(before, attempt=state["attempt"])
    assert "".join(delta["text"] for delta in deltas) == state["content"]
    assert max(len(delta["text"]) for delta in deltas) <= active.MAX_PIECE
    # The model is quoted only as much of it as leaves room for the question.
    quoted = fake_model.records[-1].body["messages"][-2]["content"]
    assert old.endswith(quoted)
    assert len(quoted) < len(old)


async def test_server_that_goes_on_with_an_open_turn_is_left_one(
    room: Room, worker: WorkerProcess, fake_model: RunningServer, settings: Settings
) -> None:
    settings.OPENAI_OPEN_TURNS = True
    before = await stopped(room)
    await in_thread(continue_reply, user=room.user, message_id=before.pk)
    done = await ended(before)
    asked = fake_model.records[-1].body
    assert asked["messages"][-1] == {"role": "assistant", "content": before.content}
    assert asked["continue_final_message"] is True
    assert done.content == before.content + fake_model.records[-1].text


async def test_open_turns_of_an_assistant_elsewhere_are_its_own_matter(
    room: Room, worker: WorkerProcess, fake_model: RunningServer, settings: Settings
) -> None:
    settings.OPENAI_OPEN_TURNS = True
    await in_thread(lambda: Assistant.objects.update(base_url=fake_model.base_url))
    before = await stopped(room)
    await in_thread(continue_reply, user=room.user, message_id=before.pk)
    await ended(before)
    assert fake_model.records[-1].body["messages"][-1]["role"] == "user"
    assert "continue_final_message" not in fake_model.records[-1].body
