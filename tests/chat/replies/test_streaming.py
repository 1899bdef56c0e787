"""A reply from its job to its end, with a real worker and a fake model."""

import asyncio

import pytest
from django.db import transaction
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from chat.llm import stream
from chat.models import Assistant, Message
from chat.replies import metrics, runner
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from notifications.models import Notification
from tests.chat.replies.conftest import (
    Follower,
    Room,
    chunks,
    ended,
    eventually,
    reaching,
    text_so_far,
)
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive


async def test_reply_is_what_the_model_said(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=40)
    done = await ended(reply)
    assert done.status == Message.Status.COMPLETE
    assert done.content == fake_model.records[0].text
    assert done.finish_reason == "stop"
    assert (done.attempt, done.usage_estimated, done.output_tokens) == (1, False, 40)
    assert await in_thread(chunks, reply) == []


async def test_deltas_come_in_order_and_make_up_the_reply(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    reply = await in_thread(room.say, tokens=60, rate=200, reasoning=10)
    state = await follower.until_status(reply, "complete")
    deltas = follower.deltas(reply)
    assert [delta["index"] for delta in deltas] == list(range(len(deltas)))
    assert len(deltas) > 3
    record = fake_model.records[0]
    assert "".join(delta["text"] for delta in deltas) == record.text == state["content"]
    assert "".join(delta["reasoning"] for delta in deltas) == record.reasoning
    assert state["reasoning"] == record.reasoning


async def test_deltas_say_where_in_the_conversation_their_reply_is(
    room: Room, worker: WorkerProcess, follower: Follower
) -> None:
    reply = await in_thread(room.say, tokens=10)
    await follower.until_status(reply, "complete")
    places = {one["place"] for one in follower.pushed if one["kind"] == "reply.delta"}
    assert places == {reply.created_seq}


async def test_seqs_of_a_reply_are_gapless(
    room: Room, worker: WorkerProcess, follower: Follower
) -> None:
    reply = await in_thread(room.say, tokens=3)
    await follower.until_status(reply, "complete")
    seqs = [frame["seq"] for frame in follower.frames if "seq" in frame]
    assert seqs == list(range(seqs[0], seqs[0] + 4))  # asked, pending, streaming, complete


async def test_what_is_published_is_stored_already(room: Room, worker: WorkerProcess) -> None:
    reply = await in_thread(room.say, tokens=100, rate=50, fault="stall_after:20")
    text = await eventually(lambda: text_so_far(reply), lambda text: text.count(" ") > 3)
    stored = await in_thread(chunks, reply)
    assert [index for _, index, _ in stored] == list(range(len(stored)))
    assert text.startswith(stored[0][2])


async def test_flushes_do_not_depend_on_the_number_of_replies(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    rooms = [await in_thread(room.another) for _ in range(20)]
    before = metrics.FLUSHES._value.get(), metrics.DELTAS._value.get()
    replies = [await in_thread(each.say, tokens=50, rate=50) for each in rooms]
    done = await asyncio.gather(*(ended(reply) for reply in replies))
    sent = {record.prompt: record.text for record in fake_model.records}
    asked = await in_thread(lambda: [Message.objects.get(pk=r.parent_id).content for r in replies])
    assert [reply.content for reply in done] == [sent[prompt] for prompt in asked]
    flushes = metrics.FLUSHES._value.get() - before[0]
    deltas = metrics.DELTAS._value.get() - before[1]
    assert deltas > 3 * flushes


async def test_idle_process_makes_no_statements(room: Room, worker: WorkerProcess) -> None:
    await ended(await in_thread(room.say, tokens=3))
    await eventually(lambda: list(worker.flusher.replies), lambda replies: not replies)
    before = metrics.FLUSHES._value.get(), metrics.CHECKS._value.get()
    await asyncio.sleep(0.4)
    assert (metrics.FLUSHES._value.get(), metrics.CHECKS._value.get()) == before


async def test_replies_of_one_conversation_follow_each_other(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    first = await in_thread(room.say, tokens=20, rate=100)
    second = await in_thread(room.say, "And then? ", tokens=5)
    done = await ended(second)
    assert done.status == Message.Status.COMPLETE
    earlier = await ended(first)
    told = [turn["content"] for turn in fake_model.records[1].body["messages"]]
    assert told[-2] == earlier.content
    assert told[-1].startswith("And then?")


async def test_asker_is_notified_when_the_reply_is_there(room: Room, worker: WorkerProcess) -> None:
    await ended(await in_thread(room.say, tokens=3))
    stored = await in_thread(lambda: Notification.objects.get(recipient=room.user))
    assert stored.action == "reply.finished"


async def test_assistant_decides_model_prompt_and_parameters(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    await in_thread(
        lambda: Assistant.objects.update(
            model="tiny",
            system_prompt="Be kind.",
            language="German",
            temperature=0.5,
            max_tokens=7,
            parameters={"top_p": 0.9},
        )
    )
    done = await ended(await in_thread(room.say, tokens=30))
    body = fake_model.records[0].body
    assert body["model"] == "tiny"
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][0]["content"].startswith("Be kind.")
    assert "German" in body["messages"][0]["content"]
    assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
    assert (done.finish_reason, done.output_tokens, done.model) == ("length", 7, "tiny")


async def test_stream_without_a_finish_reason_is_interrupted(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    done = await ended(await in_thread(room.say, tokens=10, fault="no_finish"))
    assert done.status == Message.Status.INTERRUPTED
    assert done.content == fake_model.records[0].text


async def test_absent_usage_is_estimated_and_flagged(room: Room, worker: WorkerProcess) -> None:
    done = await ended(await in_thread(room.say, tokens=30, usage="none"))
    assert done.usage_estimated
    assert done.output_tokens
    assert done.input_tokens


async def test_refusal_and_tool_calls_are_kept_apart(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    refused = await ended(await in_thread(room.say, tokens=10, fault="refusal"))
    assert refused.content == ""
    assert refused.refusal == fake_model.records[0].text
    elsewhere = await in_thread(room.another)
    called = await ended(await in_thread(elsewhere.say, fault="tool_calls"))
    assert called.finish_reason == "tool_calls"
    assert [call["name"] for call in called.tool_calls] == ["get_weather", "get_time"]


async def test_model_that_ignores_its_limit_is_cut(
    room: Room, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch, fake_model: RunningServer
) -> None:
    monkeypatch.setattr(stream, "CHARACTERS_PER_TOKEN", 1)
    await in_thread(lambda: Assistant.objects.update(max_tokens=100))
    done = await ended(await in_thread(room.say, pieces=["x" * 40] * 100, rate=50))
    assert (done.status, done.finish_reason) == (Message.Status.COMPLETE, "length")
    assert done.content == "x" * 100
    assert (await in_thread(fake_model.wait_for_end)).end == "disconnected"


async def test_one_chunk_beyond_any_reply_is_cut_and_its_stream_closed(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    # As the default: in the message, it would be cut to fit the model's context.
    fake_model.set_default(directive(pieces=["a" * 300_000, "end"], rate=0, fault="no_done,linger"))
    reply = await in_thread(room.say, "Go on.")
    state = await follower.until_status(reply, "complete")
    assert state["content"] == "a" * (2048 * 16)
    assert state["finish_reason"] == "length"
    assert state["usage"]["estimated"]
    assert "".join(delta["text"] for delta in follower.deltas(reply)) == state["content"]
    assert (await in_thread(fake_model.wait_for_end)).end == "disconnected"


async def test_long_pieces_are_split_into_deltas_that_fit_a_frame(
    room: Room, worker: WorkerProcess, follower: Follower, fake_model: RunningServer
) -> None:
    # As the default: in the message, it would be cut to fit the model's context.
    await in_thread(lambda: Assistant.objects.update(max_tokens=10_000))
    fake_model.set_default(directive(pieces=["ä" * 70_000, "end"], rate=0))
    reply = await in_thread(room.say, "Go on.")
    state = await follower.until_status(reply, "complete")
    texts = [delta["text"] for delta in follower.deltas(reply)]
    assert "".join(texts) == state["content"] == "ä" * 70_000 + "end"
    assert max(map(len, texts)) <= 32_000


async def test_assistant_that_is_gone_ends_the_reply(room: Room, worker: WorkerProcess) -> None:
    def ask_and_delete() -> Message:
        with transaction.atomic():
            reply = room.say(tokens=3)
            Assistant.objects.all().delete()
        return reply

    done = await ended(await in_thread(ask_and_delete))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "assistant_gone")


async def test_reserved_parameter_ends_the_reply(room: Room, worker: WorkerProcess) -> None:
    await in_thread(lambda: Assistant.objects.update(parameters={"stream": False}))
    done = await ended(await in_thread(room.say, tokens=3))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "assistant_misconfigured")


async def test_crash_of_ours_ends_the_reply_as_failed(
    room: Room, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(runner, "_finished", crash)
    done = await reaching(
        await in_thread(room.say, tokens=3), lambda now: now.status == Message.Status.FAILED
    )
    assert done.error_code == "internal"
    assert done.content


async def test_reply_to_a_turn_that_is_gone_is_not_asked_for(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    def ask_and_delete() -> Message:
        with transaction.atomic():
            reply = room.say(tokens=3)
            Message.objects.filter(pk=reply.parent_id).update(deleted_at=timezone.now())
        return reply

    done = await ended(await in_thread(ask_and_delete))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "turn_gone")
    assert fake_model.records == []


async def test_request_that_asked_can_be_followed_into_the_worker(
    room: Room, worker: WorkerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    def ask() -> Message:
        with bound_contextvars(request_id="request-7"):
            return room.say(tokens=3, fault="status:401")

    await ended(await in_thread(ask))
    failed = next(r.msg for r in caplog.records if "model_failed" in str(r.msg))
    assert failed["request_id"] == "request-7"  # type: ignore[index]
