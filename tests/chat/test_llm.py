"""The way to a model, against the fake model server: the wire as it is, and as it breaks."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import langsmith.utils
import openai
import pytest
from langchain_core.tracers.langchain import wait_for_all_tracers

from chat.llm import (
    Delta,
    Finish,
    ModelAuthError,
    ModelBadResponse,
    ModelConnectionLost,
    ModelConnectTimeout,
    ModelError,
    ModelErrorInStream,
    ModelFirstTokenTimeout,
    ModelIdleTimeout,
    ModelQuotaExceeded,
    ModelRateLimited,
    ModelRejected,
    ModelSpec,
    ModelTotalTimeout,
    ModelUnavailable,
    ModelUnreachable,
    Timeouts,
    ToolCall,
    Turn,
    Usage,
    close_clients,
    estimate_usage,
    stream_reply,
)
from chat.llm.errors import parse_retry_after
from chat.llm.spec import MAX_FINISH_REASON, MAX_MODEL_NAME
from chat.llm.stream import CHARACTERS_PER_TOKEN
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_reasoning, expected_text

pytestmark = pytest.mark.usefixtures("model_clients")


class Asker:
    """Asks the fake model and keeps what came."""

    def __init__(self, server: RunningServer) -> None:
        self.spec = ModelSpec("fake-1", server.base_url, "key")
        self.deltas: list[Delta] = []

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(delta.reasoning for delta in self.deltas)

    async def ask(self, prompt: str, *, timeouts: Timeouts | None = None) -> Finish:
        self.deltas = []
        finishes = []
        turns = [Turn("user", prompt)]
        async for item in stream_reply(self.spec, turns, timeouts=timeouts):
            if isinstance(item, Delta):
                assert not finishes
                self.deltas.append(item)
            else:
                finishes.append(item)
        [finish] = finishes
        return finish


Kept = Callable[[Asker, Finish], str]


@pytest.fixture
def model(fake_model: RunningServer) -> Asker:
    return Asker(fake_model)


WIRES = [
    "",
    "split",
    "crlf",
    "keepalive",
    "fields",
    "ascii",
    "no_delta",
    "no_role",
    "empty_choices_first",
    "no_done",
    "linger",
    "split,crlf,keepalive,fields,ascii,no_delta,no_role,empty_choices_first",
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("faults", WIRES)
async def test_text_arrives_byte_for_byte(model: Asker, faults: str, seed: int) -> None:
    keys = {"fault": faults} if faults else {}
    finish = await model.ask(directive(tokens=120, seed=seed, rate=0, **keys))
    assert model.text == expected_text(seed, 120)
    assert model.reasoning == ""
    assert finish.finish_reason == "stop"
    assert finish.model == "fake-1"
    assert not finish.usage.estimated


async def test_deltas_are_never_empty(model: Asker) -> None:
    await model.ask(directive(tokens=200, seed=4, rate=0, reasoning=50, fault="keepalive"))
    assert all(delta.text or delta.reasoning for delta in model.deltas)


@pytest.mark.parametrize("faults", ["keepalive", "split"])
@pytest.mark.parametrize("form", ["reasoning_content", "reasoning", "think"])
async def test_reasoning_is_kept_apart(model: Asker, form: str, faults: str) -> None:
    finish = await model.ask(
        directive(tokens=40, seed=9, reasoning=30, form=form, rate=0, fault=faults)
    )
    assert model.reasoning == expected_reasoning(9, 30)
    assert model.text == expected_text(9, 40)
    assert finish.usage.output_tokens == 70


@pytest.mark.parametrize(
    "character", ["\ud83d|\ude42", "a\ud83d|\ude42b", "\ud83d|\ude42|\ud83d|\ude43"]
)
async def test_a_character_cut_into_surrogates_is_joined(model: Asker, character: str) -> None:
    await model.ask(directive(pieces=character.split("|"), rate=0, fault="ascii"))
    whole = character.replace("|", "").encode("utf-16", "surrogatepass").decode("utf-16")
    assert model.text == whole


async def test_text_can_always_be_stored(model: Asker) -> None:
    pieces = ["a\0b", "\ud83d", "c", "\ude42", "d\ud83d"]
    await model.ask(directive(pieces=pieces, rate=0, fault="ascii"))
    assert model.text == "a\ufffdb\ufffdc\ufffdd\ufffd"


@pytest.mark.parametrize(
    "pieces",
    [
        ["1 < 2"],
        ["<"],
        ["<th"],
        ["  <", "b>"],
        ["The tag <think> opens a thought and </think> ends it"],
        ["\n\n"],
    ],
)
async def test_text_that_only_looks_like_a_tag_is_text(model: Asker, pieces: list[str]) -> None:
    await model.ask(directive(pieces=pieces, rate=0))
    assert model.text == "".join(pieces)
    assert model.reasoning == ""


async def test_a_thought_without_end_is_reasoning(model: Asker) -> None:
    finish = await model.ask(directive(pieces=["<think>so", " a</", "b </thin"], rate=0))
    assert (model.text, model.reasoning) == ("", "so a</b </thin")
    assert finish.finish_reason == "stop"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_finish_reason_is_the_providers(model: Asker, reason: str) -> None:
    finish = await model.ask(directive(tokens=3, rate=0, finish=reason))
    assert finish.finish_reason == reason


async def test_a_reply_that_finishes_with_an_error_is_none(model: Asker) -> None:
    with pytest.raises(ModelErrorInStream) as caught:
        await model.ask(directive(tokens=3, seed=2, rate=0, finish="error"))
    assert caught.value.after_first_delta
    assert model.text == expected_text(2, 3)


@pytest.mark.parametrize("faults", ["no_finish", "no_finish,no_done"])
async def test_a_stream_without_a_finish_reason_says_so(model: Asker, faults: str) -> None:
    finish = await model.ask(directive(tokens=5, seed=2, rate=0, fault=faults))
    assert finish.finish_reason is None
    assert model.text == expected_text(2, 5)


@pytest.mark.parametrize("usage", ["own", "last"])
async def test_usage_is_read_wherever_it_comes(model: Asker, usage: str) -> None:
    prompt = directive(tokens=6, seed=2, rate=0, usage=usage)
    finish = await model.ask(prompt)
    assert finish.usage == Usage(len(prompt) // 4, 6, estimated=False)


@pytest.mark.parametrize("usage", ["null", "none"])
async def test_usage_that_is_missing_is_estimated(model: Asker, usage: str) -> None:
    prompt = directive(tokens=60, seed=2, rate=0, usage=usage)
    finish = await model.ask(prompt)
    assert finish.usage.estimated
    assert finish.usage == estimate_usage([Turn("user", prompt)], model.text)


async def test_a_server_that_refuses_stream_options_is_asked_without(
    model: Asker, fake_model: RunningServer
) -> None:
    prompt = directive(tokens=5, seed=2, rate=0, fault="reject_stream_options")
    finish = await model.ask(prompt)
    assert model.text == expected_text(2, 5)
    assert finish.usage.estimated
    await model.ask(prompt)
    assert [record.status for record in fake_model.records] == [400, 200, 200]


async def test_a_refusal_is_no_text(model: Asker) -> None:
    finish = await model.ask(directive(tokens=8, seed=5, rate=0, fault="refusal"))
    assert model.text == ""
    assert finish.refusal == expected_text(5, 8)


async def test_tool_calls_are_put_together_by_index(model: Asker) -> None:
    finish = await model.ask(directive(rate=0, fault="tool_calls"))
    assert finish.finish_reason == "tool_calls"
    assert finish.tool_calls == [
        ToolCall("call_0", "get_weather", '{"city": "München"}'),
        ToolCall("call_1", "get_time", '{"zone": "CET"}'),
    ]


async def test_tool_calls_without_numbers_are_kept_apart(model: Asker) -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    event = json.dumps({"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "stop"}]})
    finish = await model.ask(directive(pieces=[], events=[event], rate=0, fault="no_finish"))
    assert finish.tool_calls == [ToolCall("a", "a", "{}"), ToolCall("b", "b", "{}")]


async def test_the_request_carries_the_whole_spec(model: Asker, fake_model: RunningServer) -> None:
    model.spec = replace(
        model.spec,
        temperature=0.5,
        max_tokens=4,
        extra={"top_k": 3, "chat_template_kwargs": {"enable_thinking": False}},
    )
    finish = await model.ask(directive(tokens=9, seed=1, rate=0))
    assert finish.finish_reason == "length"
    [record] = fake_model.records
    assert record.headers["authorization"] == "Bearer key"
    assert record.body == {
        "model": "fake-1",
        "messages": [{"role": "user", "content": record.prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_completion_tokens": 4,
        "top_k": 3,
        "chat_template_kwargs": {"enable_thinking": False},
    }


@pytest.mark.parametrize("name", ["messages", "model", "stream", "stream_options"])
def test_extra_parameters_cannot_replace_the_streams_own(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ModelSpec("m", None, "key", extra={name: None})


async def test_a_server_without_keys_is_asked_with_a_placeholder(
    model: Asker, fake_model: RunningServer
) -> None:
    model.spec = replace(model.spec, api_key="")
    await model.ask(directive(tokens=1, rate=0))
    assert fake_model.records[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("name", ["gpt-5-pro", "codex-mini", "o3-mini", "gpt-6"])
async def test_every_model_is_asked_by_chat_completions(model: Asker, name: str) -> None:
    model.spec = replace(model.spec, model=name)
    await model.ask(directive(tokens=2, seed=1, rate=0))
    assert model.text == expected_text(1, 2)


async def test_the_key_is_not_in_the_specs_repr() -> None:
    assert "hunter2" not in repr(ModelSpec("m", None, "hunter2"))


REFUSALS: list[tuple[str, type[ModelError], bool, float | None]] = [
    ("fault=status:400", ModelRejected, False, None),
    ("fault=status:401", ModelAuthError, False, None),
    ("fault=status:403", ModelAuthError, False, None),
    ("fault=status:404", ModelRejected, False, None),
    ("fault=status:408", ModelUnavailable, True, None),
    ("fault=status:409", ModelUnavailable, True, None),
    ("fault=status:422", ModelRejected, False, None),
    ("fault=status:429", ModelRateLimited, True, None),
    ("fault=status:429 retry_after=2.5", ModelRateLimited, True, 2.5),
    ("fault=status:429 retry_after=ms:250", ModelRateLimited, True, 0.25),
    ("fault=status:429 retry_after=soon", ModelRateLimited, True, None),
    ("fault=status:429 code=insufficient_quota", ModelQuotaExceeded, False, None),
    ("fault=status:500", ModelUnavailable, True, None),
    ("fault=status:503 retry_after=7", ModelUnavailable, True, 7.0),
    ("fault=status:529", ModelUnavailable, True, None),
]


@pytest.mark.parametrize(("keys", "error", "retryable", "retry_after"), REFUSALS)
async def test_a_refused_request_is_translated(
    model: Asker,
    fake_model: RunningServer,
    keys: str,
    error: type[ModelError],
    retryable: bool,
    retry_after: float | None,
) -> None:
    with pytest.raises(ModelError) as caught:
        await model.ask(f"[[fake {keys}]]")
    assert type(caught.value) is error
    assert caught.value.retryable is retryable
    assert caught.value.retry_after == retry_after
    assert not caught.value.after_first_delta
    assert len(fake_model.records) == 1  # retries are the worker's business


async def test_a_context_that_overflows_has_its_own_error(model: Asker) -> None:
    with pytest.raises(ModelRejected) as caught:
        await model.ask("[[fake fault=status:400 code=context_length_exceeded]]")
    assert caught.value.code == "model_context_exceeded"


async def test_what_was_refused_for_a_while_works_afterwards(model: Asker) -> None:
    prompt = directive(tokens=4, seed=3, rate=0, fault="status:503:2")
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await model.ask(prompt)
    await model.ask(prompt)
    assert model.text == expected_text(3, 4)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120.0), ("0", 0.0), ("1.5", 1.5), ("-5", None), ("nan", None), ("", None)],
)
def test_retry_after_in_seconds(header: str, seconds: float | None) -> None:
    assert parse_retry_after({"retry-after": header}) == seconds


async def test_retry_after_as_a_date(model: Asker) -> None:
    with pytest.raises(ModelRateLimited) as caught:
        await model.ask("[[fake fault=status:429 retry_after=date:100]]")
    assert caught.value.retry_after is not None
    assert 60 < caught.value.retry_after <= 101
    assert parse_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize("pieces", [0, 6])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("cut_after", ModelConnectionLost),
        ("close_after", ModelConnectionLost),
        ("error_data_after", ModelErrorInStream),
        ("bad_json", ModelBadResponse),
    ],
)
async def test_a_stream_that_breaks_keeps_what_came_before(
    model: Asker, fault: str, error: type[ModelError], pieces: int
) -> None:
    with pytest.raises(error) as caught:
        await model.ask(directive(tokens=20, seed=8, rate=500, fault=f"{fault}:{pieces}"))
    assert model.text == expected_text(8, pieces)
    assert caught.value.after_first_delta is bool(pieces)
    assert caught.value.retryable is not bool(pieces)


@pytest.mark.parametrize("fault", ["cut_after", "close_after", "error_data_after"])
@pytest.mark.parametrize("piece", ["<", " ", "<thin"])
async def test_what_might_have_begun_a_thought_is_said_when_the_stream_breaks(
    model: Asker, fault: str, piece: str
) -> None:
    with pytest.raises(ModelError) as caught:
        await model.ask(directive(pieces=[piece, "more"], fault=f"{fault}:1"))
    assert model.text == piece
    assert caught.value.after_first_delta


@pytest.mark.parametrize(
    ("keys", "timeouts", "error", "pieces"),
    [
        ("fault=slow_headers:30", Timeouts(first_token=0.2), ModelFirstTokenTimeout, 0),
        ("fault=slow_first:30", Timeouts(first_token=0.2), ModelFirstTokenTimeout, 0),
        ("fault=stall_after:0", Timeouts(first_token=0.2), ModelFirstTokenTimeout, 0),
        ("fault=stall_after:3", Timeouts(idle=0.2), ModelIdleTimeout, 3),
        ("rate=20", Timeouts(total=0.3), ModelTotalTimeout, None),
        ("fault=slow_headers:30", Timeouts(total=0.2), ModelTotalTimeout, 0),
    ],
)
async def test_silence_ends_in_a_stated_timeout_and_a_closed_connection(
    model: Asker,
    fake_model: RunningServer,
    keys: str,
    timeouts: Timeouts,
    error: type[ModelError],
    pieces: int | None,
) -> None:
    with pytest.raises(ModelError) as caught:
        await model.ask(f"[[fake tokens=50 seed=6 {keys}]]", timeouts=timeouts)
    assert type(caught.value) is error
    if pieces is None:
        assert model.text
        assert expected_text(6, 50).startswith(model.text)
    else:
        assert model.text == expected_text(6, pieces)
    assert caught.value.after_first_delta is bool(model.text)
    assert (await fake_model.ended()).end == "disconnected"


async def test_pauses_shorter_than_the_timeout_are_none(model: Asker) -> None:
    await model.ask(
        directive(tokens=8, seed=6, fault="slow_first:0.3,pause_after:4:0.3"),
        timeouts=Timeouts(first_token=5, idle=5, total=10),
    )
    assert model.text == expected_text(6, 8)


async def test_idle_is_the_time_since_the_last_chunk(model: Asker) -> None:
    prompt = directive(tokens=40, seed=6, rate=25)
    await model.ask(prompt, timeouts=Timeouts(idle=0.8))
    assert model.text == expected_text(6, 40)


async def test_a_slow_reader_is_no_idle_model(model: Asker) -> None:
    seen = []
    turns = [Turn("user", directive(tokens=4, seed=6, rate=0))]
    async for item in stream_reply(model.spec, turns, timeouts=Timeouts(idle=0.05)):
        seen.append(item)
        await asyncio.sleep(0.15)
    assert isinstance(seen[-1], Finish)


async def test_a_port_where_nobody_listens_is_unreachable(model: Asker) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        model.spec = replace(model.spec, base_url=f"http://127.0.0.1:{port}/v1")
        with pytest.raises(ModelUnreachable) as caught:
            await model.ask("hello")
    assert caught.value.retryable


@pytest.mark.parametrize("base_url", ["http://no-such-host.invalid/v1"])
async def test_a_host_that_does_not_exist_is_unreachable(model: Asker, base_url: str) -> None:
    model.spec = replace(model.spec, base_url=base_url)
    with pytest.raises(ModelUnreachable):
        await model.ask("hello")


async def test_a_host_that_never_accepts_is_a_connect_timeout(model: Asker, deaf_port: int) -> None:
    model.spec = replace(model.spec, base_url=f"http://127.0.0.1:{deaf_port}/v1")
    with pytest.raises(ModelConnectTimeout) as caught:
        await model.ask("hello", timeouts=Timeouts(connect=0.3))
    assert caught.value.retryable


@pytest.mark.parametrize("base_url", ["ftp://127.0.0.1/v1", "127.0.0.1:80", "http://[::bad/v1"])
async def test_a_base_url_that_is_none_is_rejected(model: Asker, base_url: str) -> None:
    model.spec = replace(model.spec, base_url=base_url)
    with pytest.raises(ModelRejected):
        await model.ask("hello")


@pytest.mark.parametrize("answer", [b"{}", b"<html>busy</html>", b"", b"data: [1, 2]\n\n"])
async def test_a_200_that_is_no_stream_is_a_bad_response(model: Asker, answer: bytes) -> None:
    async with _one_answer(answer) as base_url:
        model.spec = replace(model.spec, base_url=base_url)
        with pytest.raises(ModelBadResponse):
            await model.ask("hello")


async def test_bytes_that_are_no_http_are_a_bad_response(model: Asker) -> None:
    async with _one_answer(b"", head=b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as base_url:
        model.spec = replace(model.spec, base_url=base_url)
        with pytest.raises(ModelBadResponse):
            await model.ask("hello")


@pytest.mark.parametrize(
    "answer",
    [
        b'data: {"choices": [{"delta": {"content": ["no", "text"]}}]}\n\n',
        b'data: {"choices": [{"delta": "text"}]}\n\n',
        b'data: {"choices": 5}\n\n',
        b"data: null\n\n",
        b'data: "\xff\xfe"\n\n',
    ],
)
async def test_a_chunk_of_another_shape_is_a_bad_response(model: Asker, answer: bytes) -> None:
    async with _one_answer(answer) as base_url:
        model.spec = replace(model.spec, base_url=base_url)
        with pytest.raises(ModelBadResponse):
            await model.ask("hello")


OTHER = '{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}'
LAST = '{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'


@pytest.mark.parametrize(
    "event",
    [
        "garbage",
        "[1]",
        "null",
        "[" * 100_000,
        '{"error": {"message": "secret upstream detail"}}',
        '{"choices": [{"index": 0, "delta": {"content": 5}}]}',
        '{"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}',
        '{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": %s}}' % ("9" * 5_000),
    ],
)
async def test_nothing_after_its_end_fails_a_reply(model: Asker, event: str) -> None:
    finish = await model.ask(
        directive(pieces=["Said."], events=[event], usage="none", rate=0, fault="no_done")
    )
    assert (model.text, finish.finish_reason) == ("Said.", "stop")
    assert finish.usage.estimated


async def test_a_connection_that_breaks_after_the_end_fails_no_reply(model: Asker) -> None:
    said = '{"choices": [{"delta": {"content": "Said."}, "finish_reason": "stop"}]}'
    async with _one_answer(f"data: {said}\n\n".encode(), length=1000) as base_url:
        model.spec = replace(model.spec, base_url=base_url)
        finish = await model.ask("hello")
    assert (model.text, finish.finish_reason) == ("Said.", "stop")


async def test_silence_after_the_end_fails_no_reply(model: Asker) -> None:
    prompt = directive(pieces=["Said."], rate=0, fault="linger,no_done")
    finish = await model.ask(prompt, timeouts=Timeouts(idle=0.2))
    assert (model.text, finish.finish_reason) == ("Said.", "stop")
    assert not finish.usage.estimated


async def test_held_back_text_is_said_when_garbage_follows_the_end(model: Asker) -> None:
    await model.ask(directive(pieces=["<thin"], events=["garbage"], rate=0))
    assert model.text == "<thin"


@pytest.mark.parametrize(
    "usage",
    [
        "[1]",
        '"17"',
        "17",
        '{"prompt_tokens": 1}',
        '{"completion_tokens": 1}',
        '{"prompt_tokens": 1, "completion_tokens": 0}',
        '{"prompt_tokens": 1, "completion_tokens": 2147483648}',
        '{"prompt_tokens": 2147483648, "completion_tokens": 1}',
        '{"prompt_tokens": 1, "completion_tokens": 1e400}',
        '{"prompt_tokens": 1, "completion_tokens": NaN}',
        '{"prompt_tokens": -1, "completion_tokens": 1}',
        '{"prompt_tokens": 1, "completion_tokens": 1.5}',
        '{"prompt_tokens": 1, "completion_tokens": true}',
        '{"prompt_tokens": 1, "completion_tokens": "17"}',
        '{"prompt_tokens": 1, "completion_tokens": [17]}',
    ],
)
async def test_usage_that_is_no_count_of_tokens_is_estimated(model: Asker, usage: str) -> None:
    event = f'{{"choices": [{{"delta": {{}}, "finish_reason": "stop"}}], "usage": {usage}}}'
    prompt = directive(pieces=["Said."], events=[event], usage="none", rate=0, fault="no_finish")
    finish = await model.ask(prompt)
    assert finish.finish_reason == "stop"
    assert finish.usage == estimate_usage([Turn("user", prompt)], "Said.")


@pytest.mark.parametrize(
    ("told", "read"), [("3.0", 3), ("1e2", 100), ("2147483647", 2147483647), ("1", 1)]
)
async def test_usage_is_whole_however_it_is_written(model: Asker, told: str, read: int) -> None:
    event = f'{{"choices": [], "usage": {{"prompt_tokens": 0, "completion_tokens": {told}}}}}'
    finish = await model.ask(directive(pieces=["Said."], events=[event], usage="none", rate=0))
    assert finish.usage == Usage(0, read, estimated=False)


@pytest.mark.parametrize(
    "events",
    [
        [
            f'{{"choices": [{OTHER}]}}',
            '{"choices": [{"index": 0, "delta": {"content": "Said."}}]}',
        ],
        [f'{{"choices": [{OTHER}, {{"index": 0, "delta": {{"content": "Said."}}}}]}}'],
        ['{"choices": [{"delta": {"content": "Said."}}]}'],
        ['{"choices": [{"index": null, "delta": {"content": "Said."}}]}'],
    ],
)
async def test_only_the_choice_that_was_asked_for_is_read(model: Asker, events: list[str]) -> None:
    finish = await model.ask(
        directive(pieces=[], events=[*events, LAST], rate=0, fault="no_finish")
    )
    assert (model.text, finish.finish_reason) == ("Said.", "stop")


@pytest.mark.parametrize(
    "odd",
    [
        '"finish_reason": 7',
        '"finish_reason": {"type": "stop"}',
        '"delta": {"refusal": 7}',
        '"delta": {"reasoning_content": {"text": "?"}}',
        '"delta": {"tool_calls": 7}',
        '"delta": {"tool_calls": [7, {}, {"function": 7}]}',
    ],
)
async def test_what_is_not_of_its_kind_counts_as_not_sent(model: Asker, odd: str) -> None:
    event = f'{{"model": 7, "choices": [{{"index": 0, {odd}}}]}}'
    finish = await model.ask(
        directive(pieces=["Said."], events=[event, LAST], rate=0, fault="no_finish")
    )
    assert (model.text, model.reasoning) == ("Said.", "")
    assert finish.finish_reason == "stop"
    assert (finish.refusal, finish.tool_calls, finish.model) == (None, [], "fake-1")


async def test_a_last_word_with_an_error_is_kept(model: Asker) -> None:
    event = '{"choices": [{"delta": {"content": " Last."}, "finish_reason": "error"}]}'
    with pytest.raises(ModelErrorInStream):
        await model.ask(directive(pieces=["Said."], events=[event], rate=0, fault="no_finish"))
    assert model.text == "Said. Last."


async def test_a_finish_can_always_be_stored(model: Asker) -> None:
    call = {"id": "\0", "function": {"name": "a\0", "arguments": "\ud800"}}
    delta = {"refusal": "\ud83d", "tool_calls": [call]}
    choice = {"delta": delta, "finish_reason": "s\0" + "s" * 500}
    event = json.dumps({"model": "m\0" + "m" * 500, "choices": [choice]})
    finish = await model.ask(directive(pieces=[], events=[event], rate=0, fault="no_finish"))
    assert finish.model == "m\ufffd" + "m" * (MAX_MODEL_NAME - 2)
    assert finish.finish_reason == "s\ufffd" + "s" * (MAX_FINISH_REASON - 2)
    assert finish.refusal == "\ufffd"
    assert finish.tool_calls == [ToolCall("\ufffd", "a\ufffd", "\ufffd")]


def test_what_is_kept_of_a_finish_fits_its_columns() -> None:
    from chat.models import Message

    assert Message._meta.get_field("finish_reason").max_length == MAX_FINISH_REASON
    assert Message._meta.get_field("model").max_length == MAX_MODEL_NAME


LONG = "x" * 300_000


@pytest.mark.parametrize(
    ("delta", "kept"),
    [
        ({"content": LONG}, lambda model, finish: model.text),
        ({"reasoning": LONG}, lambda model, finish: model.reasoning),
        ({"content": f"<think>{LONG}"}, lambda model, finish: f"<think>{model.reasoning}"),
        ({"content": " " * 300_000}, lambda model, finish: model.text),
        ({"refusal": LONG}, lambda model, finish: finish.refusal),
        (
            {"tool_calls": [{"function": {"arguments": LONG}}]},
            lambda model, finish: finish.tool_calls[0].arguments,
        ),
        (
            {"tool_calls": [{"function": {"name": LONG}}]},
            lambda model, finish: finish.tool_calls[0].name,
        ),
    ],
)
async def test_a_reply_has_so_many_characters_for_each_token(
    model: Asker, fake_model: RunningServer, delta: dict[str, object], kept: Kept
) -> None:
    model.spec = replace(model.spec, max_tokens=10)
    event = json.dumps({"choices": [{"index": 0, "delta": delta}]})
    fault = "no_finish,no_done,linger"
    fake_model.set_default(directive(pieces=[], events=[event], rate=0, fault=fault))
    finish = await model.ask("hello", timeouts=Timeouts(idle=5))
    assert len(kept(model, finish)) == 10 * CHARACTERS_PER_TOKEN
    assert finish.finish_reason == "length"
    assert (await fake_model.ended()).end == "disconnected"


async def test_a_reply_may_be_just_as_long_as_its_limit(model: Asker) -> None:
    model.spec = replace(model.spec, max_tokens=10)
    finish = await model.ask(directive(pieces=["x" * 160, ""], rate=0))
    assert (len(model.text), finish.finish_reason) == (160, "stop")


async def test_no_more_tool_calls_are_kept_than_there_can_be_tools(model: Asker) -> None:
    calls = [{"index": index, "function": {"name": "f"}} for index in range(200)]
    event = json.dumps({"choices": [{"delta": {"tool_calls": calls}}]})
    finish = await model.ask(directive(pieces=[], events=[event], rate=0, fault="no_finish"))
    assert (len(finish.tool_calls), finish.finish_reason) == (128, "length")


async def test_errors_never_show_the_providers_words(model: Asker) -> None:
    with pytest.raises(ModelError) as caught:
        await model.ask("[[fake fault=status:500]]")
    assert str(caught.value) == "model_unavailable"
    assert isinstance(caught.value.__cause__, openai.APIError)
    assert "secret upstream detail" in str(caught.value.__cause__)


async def test_closing_the_reply_closes_the_connection(
    model: Asker, fake_model: RunningServer
) -> None:
    turns = [Turn("user", directive(tokens=1000, rate=100))]
    async with contextlib.aclosing(stream_reply(model.spec, turns)) as reply:
        await anext(reply)
    record = await fake_model.ended()
    assert record.end == "disconnected"
    assert record.pieces < 1000


@pytest.mark.parametrize(
    "keys", ["tokens=1000 rate=100", "fault=slow_headers:30", "fault=stall_after:0"]
)
async def test_cancelling_the_reader_closes_the_connection(
    model: Asker, fake_model: RunningServer, keys: str
) -> None:
    asking = asyncio.create_task(model.ask(f"[[fake {keys}]]"))
    await fake_model.asked()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await fake_model.ended()).end == "disconnected"


async def test_a_cancellation_is_not_taken_for_a_timeout(model: Asker) -> None:
    """Both at the same moment: whoever cancelled the task must not be ignored."""
    timeouts = Timeouts(first_token=0.2)
    asking = asyncio.create_task(model.ask("[[fake fault=slow_headers:30]]", timeouts=timeouts))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    # The loop is blocked past both moments, so that it sees them in one turn: first the deadline.
    loop.call_later(0.1, time.sleep, 0.2)
    loop.call_later(0.25, asking.cancel)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_timeout_of_the_caller_works_around_a_reply(model: Asker) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await model.ask("[[fake fault=stall_after:2]]")
    await model.ask(directive(tokens=2, seed=1, rate=0))
    assert model.text == expected_text(1, 2)


async def test_two_hundred_replies_at_once_do_not_mix(fake_model: RunningServer) -> None:
    async def one(seed: int) -> None:
        model = Asker(fake_model)
        await model.ask(directive(tokens=20, seed=seed, rate=100))
        assert model.text == expected_text(seed, 20)

    await asyncio.gather(*(one(seed) for seed in range(1, 201)))
    assert {record.end for record in fake_model.records} == {"complete"}


async def test_connections_are_used_again_and_closed_in_the_end(
    model: Asker, fake_model: RunningServer
) -> None:
    for seed in range(1, 6):
        await model.ask(directive(tokens=2, seed=seed, rate=0))
    assert fake_model.connections == 1
    await close_clients()
    await fake_model.all_closed()


async def test_a_connection_closed_while_idle_is_not_used_again(
    model: Asker, fake_model: RunningServer
) -> None:
    await model.ask(directive(tokens=2, seed=1, rate=0))
    fake_model.drop_connections()
    await fake_model.all_closed()
    await model.ask(directive(tokens=2, seed=2, rate=0))
    assert model.text == expected_text(2, 2)


def test_it_needs_no_django() -> None:
    code = "import sys, chat.llm, chat.replies.history; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_tracing_in_the_environment_sends_nothing(
    model: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def trace(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append(writer.get_extra_info("peername"))
        writer.close()

    collector = await asyncio.start_server(trace, "127.0.0.1", 0)
    port = collector.sockets[0].getsockname()[1]
    for name in ("LANGSMITH", "LANGCHAIN"):
        monkeypatch.setenv(f"{name}_TRACING", "true")
        monkeypatch.setenv(f"{name}_TRACING_V2", "true")
        monkeypatch.setenv(f"{name}_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv(f"{name}_API_KEY", "key")
    langsmith.utils.get_env_var.cache_clear()
    try:
        await model.ask(directive(tokens=2, rate=0))
        await asyncio.to_thread(wait_for_all_tracers)
    finally:
        monkeypatch.undo()
        langsmith.utils.get_env_var.cache_clear()
        collector.close()
    assert called == []


@contextlib.asynccontextmanager
async def _one_answer(
    body: bytes, head: bytes | None = None, length: int | None = None
) -> AsyncIterator[str]:
    """A server that answers any request with these bytes, and may have promised more of them."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            head
            or b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n"
            % (len(body) if length is None else length)
        )
        writer.write(body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
