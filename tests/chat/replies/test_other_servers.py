"""Replies, from their job to their end, over servers that no one here wrote: llmock and aimock."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply

from chat.models import Assistant, Message
from chat.replies import runner
from chat.services.reply_actions import request_stop
from chatire.worker.process import WorkerProcess
from core.threads import in_thread
from tests.chat.replies.conftest import Follower, Room, ended, eventually, text_so_far

ROOT = Path(__file__).resolve().parents[3]
AIMOCK = ROOT / "frontend" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
DEADLINE = 30.0  # seconds

ANSWER = "Naïve 東京 👩‍👩‍👧‍👦\n\n```python\nprint('<think>')\n```\n\u2028 the end.  \n"
THOUGHT = "Hm 🙂, they ask about 東京."

# What aimock answers, by a word of the question. A chunk is so many UTF-16 code units, so that
# characters are cut in their middle.
FIXTURES: dict[str, dict[str, Any]] = {
    "plain": {"response": {"content": ANSWER}, "chunkSize": 1},
    "reasoning": {"response": {"content": ANSWER, "reasoning": THOUGHT}, "chunkSize": 1},
    "inline": {"response": {"content": f"<think>{THOUGHT}</think>{ANSWER}"}, "chunkSize": 3},
    "router": {
        "response": {"content": ANSWER, "reasoning": THOUGHT},
        "chunkSize": 5,
        "openRouterProcessing": True,
    },
    "too-long": {"response": {"content": ANSWER, "finishReason": "length"}},
    "filtered": {"response": {"content": ANSWER, "finishReason": "content_filter"}},
    "billed": {
        "response": {"content": ANSWER, "usage": {"prompt_tokens": 41, "completion_tokens": 17}}
    },
    "tools": {
        "response": {
            "toolCalls": [
                {"name": "get_weather", "arguments": {"city": "München"}},
                {"name": "get_time", "arguments": {"zone": "CET"}},
            ]
        },
        "chunkSize": 2,
    },
    # Paced, or the reset that ends it would overtake all of it.
    "cut": {
        "response": {"content": ANSWER},
        "chunkSize": 2,
        "truncateAfterChunks": 12,
        "streamingProfile": {"tps": 50},
    },
    "late": {"response": {"content": ANSWER}, "streamingProfile": {"ttft": 5000}},
    "slow": {"response": {"content": ANSWER * 20}, "chunkSize": 2, "streamingProfile": {"tps": 20}},
}
BUSY = {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}


@pytest.fixture(scope="module")
def aimock_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """aimock with FIXTURES, and `busy`, which is refused once; its root URL."""
    node = shutil.which("node", path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    if node is None or not AIMOCK.is_file():
        pytest.skip("the frontend's packages are not installed")
    fixtures = [{"match": {"userMessage": word}, **FIXTURES[word]} for word in FIXTURES]
    refused = {**BUSY, "status": 429, "retryAfter": 1}
    for at, response in enumerate([refused, {"content": ANSWER}]):
        match = {"userMessage": "busy", "sequenceIndex": at}
        fixtures.append({"match": match, "response": response})
    path = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    path.write_text(json.dumps({"fixtures": fixtures}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [node, str(AIMOCK), "--port", str(port), "--fixtures", str(path), "--strict"]
    # In a group of its own: Node.js from a wheel runs as the child of a script.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            assert process.poll() is None, "aimock ended"
            assert time.monotonic() < deadline, "aimock does not answer"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE)


@pytest.fixture
def aimock(room: Room, aimock_url: str, settings: LazySettings) -> str:
    """The room's model is aimock's, and one of which aimock believes that it reasons."""
    settings.OPENAI_BASE_URL = f"{aimock_url}/v1"
    settings.DEFAULT_MODEL = "some-model"
    return aimock_url


@pytest.fixture
def mock(room: Room, llmock: LLMock, settings: LazySettings) -> LLMock:
    """The room's model is llmock's."""
    settings.OPENAI_BASE_URL = llmock.base_url()
    return llmock


async def answered(room: Room, word: str = "Hello") -> Message:
    return await ended(await in_thread(room.say, word))


# --- aimock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "finish_reason", "reasoning"),
    [
        ("plain", "stop", ""),
        ("reasoning", "stop", THOUGHT),
        ("inline", "stop", THOUGHT),
        ("too-long", "length", ""),
        ("filtered", "content_filter", ""),
    ],
)
async def test_aimocks_answers_arrive_byte_for_byte_with_reasoning_apart(
    room: Room,
    worker: WorkerProcess,
    follower: Follower,
    aimock: str,
    word: str,
    finish_reason: str,
    reasoning: str,
) -> None:
    reply = await in_thread(room.say, word)
    state = await follower.until_status(reply, "complete")
    assert (state["content"], state["reasoning"]) == (ANSWER, reasoning)
    assert state["finish_reason"] == finish_reason
    assert not state["usage"]["estimated"]
    deltas = follower.deltas(reply)
    assert "".join(delta["text"] for delta in deltas) == ANSWER
    assert "".join(delta["reasoning"] for delta in deltas) == reasoning


async def test_aimocks_openrouter_is_read_between_its_comments(
    room: Room, worker: WorkerProcess, aimock: str
) -> None:
    await in_thread(lambda: Assistant.objects.update(base_url=f"{aimock}/api/v1"))
    done = await answered(room, "router")
    assert (done.status, done.content, done.reasoning) == ("complete", ANSWER, THOUGHT)
    assert not done.usage_estimated


async def test_aimocks_usage_is_what_is_billed(
    room: Room, worker: WorkerProcess, aimock: str
) -> None:
    done = await answered(room, "billed")
    assert (done.input_tokens, done.output_tokens, done.usage_estimated) == (41, 17, False)


async def test_aimocks_tool_calls_are_put_together_by_index(
    room: Room, worker: WorkerProcess, aimock: str
) -> None:
    done = await answered(room, "tools")
    assert (done.status, done.finish_reason, done.content) == ("complete", "tool_calls", "")
    calls = [(call["name"], json.loads(call["arguments"])) for call in done.tool_calls]
    assert calls == [("get_weather", {"city": "München"}), ("get_time", {"zone": "CET"})]


async def test_a_reply_that_aimock_cuts_off_is_failed_and_keeps_its_text(
    room: Room, worker: WorkerProcess, aimock: str
) -> None:
    done = await answered(room, "cut")
    assert (done.status, done.error_code) == ("failed", "model_connection_lost")
    assert done.content
    assert ANSWER.startswith(done.content)
    assert done.usage_estimated


async def test_a_reply_waits_as_long_as_aimock_asks_and_then_completes(
    room: Room, worker: WorkerProcess, aimock: str
) -> None:
    began = time.monotonic()
    done = await answered(room, "busy")
    assert (done.status, done.content, done.attempt) == ("complete", ANSWER, 1)
    assert time.monotonic() - began >= 1.0


async def test_aimocks_late_first_token_is_given_up(
    room: Room,
    worker: WorkerProcess,
    aimock: str,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.REPLY_TIMEOUTS = {**settings.REPLY_TIMEOUTS, "first_token": 0.5}
    monkeypatch.setattr(runner, "MAX_TRIES", 1)
    done = await answered(room, "late")
    assert (done.status, done.error_code) == ("failed", "model_timeout_first_token")


async def test_a_stopped_reply_of_aimocks_keeps_its_text_and_an_estimate(
    room: Room, worker: WorkerProcess, aimock: str
) -> None:
    reply = await in_thread(room.say, "slow")
    await eventually(lambda: text_so_far(reply))
    await in_thread(request_stop, user=room.user, message_id=reply.pk)
    done = await ended(reply)
    assert done.status == "cancelled"
    assert done.content
    assert (ANSWER * 20).startswith(done.content)
    assert done.usage_estimated
    assert done.output_tokens


# --- llmock ------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish_reason", ["stop", "length", "content_filter"])
async def test_llmocks_answers_arrive_byte_for_byte(
    room: Room, worker: WorkerProcess, mock: LLMock, finish_reason: str
) -> None:
    mock.add(Reply(text=ANSWER, finish_reason=finish_reason))
    done = await answered(room)
    assert (done.status, done.content) == ("complete", ANSWER)
    assert (done.finish_reason, done.usage_estimated) == (finish_reason, False)


async def test_llmock_finds_nothing_wrong_with_how_we_wait(
    room: Room, worker: WorkerProcess, mock: LLMock
) -> None:
    """It judges what its client did: asked again too early, too often, or took half for whole."""
    mock.rate_limit(times=2, retry_after=0.5).fail(503, times=1).reply(ANSWER, times=None)
    done = await answered(room)
    assert (done.status, done.content, done.attempt) == ("complete", ANSWER, 1)
    assert len(mock.requests) == 4
    mock.assert_resilient(strict=True)


@pytest.mark.parametrize(
    ("fault", "status", "error_code"),
    [
        ("truncate", "interrupted", ""),
        ("disconnect", "failed", "model_connection_lost"),
        ("corrupt", "failed", "model_bad_response"),
    ],
)
async def test_a_reply_that_llmock_breaks_off_keeps_its_text_and_says_so(
    room: Room, worker: WorkerProcess, mock: LLMock, fault: str, status: str, error_code: str
) -> None:
    getattr(mock.reply(ANSWER), fault)(after_chunks=5)
    done = await answered(room)
    assert (done.status, done.error_code) == (status, error_code)
    assert done.content
    assert done.content != ANSWER
    assert ANSWER.startswith(done.content)
    assert done.usage_estimated
    assert len(mock.requests) == 1
