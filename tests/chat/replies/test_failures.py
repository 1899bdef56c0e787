"""Models that refuse, break off, or fall silent."""

import pytest
from django.conf import LazySettings

from chat.models import Message
from chat.replies import runner
from chat.services.reply_actions import continue_reply
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from tests.chat.replies.conftest import Follower, Room, ended, reaching, text_so_far
from tests.fakes.openai_server import RunningServer


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_refusal_before_the_first_delta_is_retried(
    room: Room, worker: WorkerProcess, fake_model: RunningServer, status: int
) -> None:
    done = await ended(
        await in_thread(room.say, tokens=5, fault=f"status:{status}:2", retry_after="ms:50")
    )
    assert done.status == Message.Status.COMPLETE
    assert [record.status for record in fake_model.records] == [status, status, 200]
    assert done.attempt == 1
    assert done.content == fake_model.records[2].text


async def test_retry_waits_as_long_as_the_provider_asks(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    await ended(await in_thread(room.say, tokens=5, fault="status:429:1", retry_after="1"))
    first, second = fake_model.records
    assert second.received_at - first.received_at >= 1.0


async def test_retries_are_bounded(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    done = await ended(await in_thread(room.say, tokens=5, fault="status:503", retry_after="ms:10"))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "model_unavailable")
    assert len(fake_model.records) == runner.MAX_TRIES


async def test_provider_that_asks_for_too_long_a_wait_is_not_waited_for(
    room: Room, worker: WorkerProcess, fake_model: RunningServer
) -> None:
    done = await ended(await in_thread(room.say, tokens=5, fault="status:429", retry_after="3600"))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "model_rate_limited")
    assert len(fake_model.records) == 1


@pytest.mark.parametrize(("status", "code"), [(401, "model_auth"), (400, "model_rejected")])
async def test_refusal_that_no_retry_cures_is_final(
    room: Room, worker: WorkerProcess, fake_model: RunningServer, status: int, code: str
) -> None:
    done = await ended(await in_thread(room.say, tokens=5, fault=f"status:{status}"))
    assert (done.status, done.error_code, done.content) == (Message.Status.FAILED, code, "")
    assert len(fake_model.records) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("cut_after:8", "model_connection_lost"),
        ("close_after:8", "model_connection_lost"),
        ("error_data_after:8", "model_error_in_stream"),
        ("bad_json:8", "model_bad_response"),
    ],
)
async def test_failure_after_the_first_delta_keeps_the_text(
    room: Room,
    worker: WorkerProcess,
    follower: Follower,
    fake_model: RunningServer,
    fault: str,
    code: str,
) -> None:
    reply = await in_thread(room.say, tokens=30, rate=100, fault=fault)
    state = await follower.until_status(reply, "failed")
    text = fake_model.records[0].text
    assert state["error_code"] == code
    # A reset may swallow what was sent just before it, but nothing is made up.
    assert state["content"]
    assert text.startswith(state["content"])
    assert "".join(delta["text"] for delta in follower.deltas(reply)) == state["content"]
    assert state["usage"]["estimated"]
    assert len(fake_model.records) == 1


@pytest.mark.parametrize(
    ("timeout", "fault", "code", "said"),
    [
        ("first_token", "slow_first:30", "model_timeout_first_token", False),
        ("first_token", "slow_headers:30", "model_timeout_first_token", False),
        ("idle", "stall_after:5", "model_timeout_idle", True),
        ("total", "stall_after:5", "model_timeout_total", True),
    ],
)
async def test_silence_ends_a_reply_in_a_stated_status(
    room: Room,
    worker: WorkerProcess,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    timeout: str,
    fault: str,
    code: str,
    said: bool,
) -> None:
    settings.REPLY_TIMEOUTS = {**settings.REPLY_TIMEOUTS, timeout: 0.5}
    monkeypatch.setattr(runner, "MAX_TRIES", 1)
    done = await ended(await in_thread(room.say, tokens=30, rate=200, fault=fault))
    assert (done.status, done.error_code) == (Message.Status.FAILED, code)
    assert bool(done.content) is said


async def test_unreachable_model_fails_the_reply(
    room: Room, worker: WorkerProcess, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    monkeypatch.setattr(runner, "_RETRY_BASE", 0.01)
    done = await ended(await in_thread(room.say, tokens=3))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "model_unreachable")
    assert await in_thread(text_so_far, done) == ""


async def test_connection_lost_before_the_first_delta_is_tried_again_at_once(
    room: Room,
    worker: WorkerProcess,
    fake_model: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_RETRY_BASE", 3600.0)
    monkeypatch.setattr(runner, "MAX_TRIES", 2)
    done = await ended(await in_thread(room.say, tokens=5, fault="cut_after:0"))
    assert (done.status, done.error_code) == (Message.Status.FAILED, "model_connection_lost")
    assert len(fake_model.records) == 2


LAST = '{"choices": [{"index": 0, "delta": {}, "finish_reason": %s}], "usage": %s}'
USAGE = '{"prompt_tokens": %s, "completion_tokens": %s}'


@pytest.mark.parametrize(
    "events",
    [
        [LAST % ('"stop"', USAGE % (2**70, 2**70))],
        [LAST % ('"stop"', USAGE % (1, 2**31))],
        [LAST % ('"stop"', USAGE % ("1e400", "1e400"))],
        [LAST % ('"stop"', USAGE % (-1, -1))],
        [LAST % ('"stop"', "[1]")],
        [LAST % ('"stop"', "null"), '{"choices": [], "usage": "many"}'],
        [LAST % ('"stop"', "null"), "garbage"],
        [LAST % ('"stop"', "null"), '{"error": {"message": "secret upstream detail"}}'],
        [LAST % ('"stop"', "null"), LAST % ('"error"', "null")],
    ],
)
async def test_what_comes_after_the_text_costs_nothing_of_it(
    room: Room, worker: WorkerProcess, fake_model: RunningServer, events: list[str]
) -> None:
    reply = await in_thread(
        room.say, pieces=["It is ", "said."], events=events, usage="none", fault="no_finish"
    )
    done = await ended(reply)
    assert (done.status, done.finish_reason, done.error_code) == ("complete", "stop", "")
    assert done.content == "It is said."
    assert done.usage_estimated
    assert done.output_tokens
    assert (done.attempt, len(fake_model.records)) == (1, 1)


@pytest.mark.parametrize(
    ("reason", "status", "kept"),
    [("7", "interrupted", ""), ('["stop"]', "interrupted", ""), ('"%s"', "complete", "s" * 20)],
)
async def test_a_finish_reason_of_any_kind_leaves_the_reply_as_it_is(
    room: Room, worker: WorkerProcess, reason: str, status: str, kept: str
) -> None:
    event = LAST % (reason.replace("%s", "s" * 500), "null")
    done = await ended(
        await in_thread(room.say, pieces=["Said."], events=[event], fault="no_finish")
    )
    assert (done.status, done.finish_reason, done.error_code) == (status, kept, "")
    assert done.content == "Said."
    assert not done.usage_estimated


async def test_tokens_of_all_runs_of_a_reply_never_exceed_their_column(
    room: Room, worker: WorkerProcess
) -> None:
    most = 2**31 - 1
    event = '{"choices": [], "usage": %s}' % (USAGE % (most, most))
    cut = await ended(
        await in_thread(room.say, pieces=["It is "], events=[event], usage="none", finish="length")
    )
    assert (cut.input_tokens, cut.output_tokens) == (most, most)
    await in_thread(continue_reply, user=room.user, message_id=cut.pk)
    done = await reaching(cut, lambda now: now.finish_reason == "stop")
    assert (done.input_tokens, done.output_tokens) == (most, most)
