"""What is refused, breaks or keeps silent becomes an error that says what it was."""

import asyncio
import socket
from dataclasses import replace

import pytest

from chat.llm import (
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
    ModelTotalTimeout,
    ModelUnavailable,
    ModelUnreachable,
    Timeouts,
    Turn,
    stream_reply,
)
from chat.llm.errors import parse_retry_after
from tests.chat.asker import Asker, one_answer
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = pytest.mark.usefixtures("model_clients")


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
    async with one_answer(answer) as base_url:
        model.spec = replace(model.spec, base_url=base_url)
        with pytest.raises(ModelBadResponse):
            await model.ask("hello")


async def test_bytes_that_are_no_http_are_a_bad_response(model: Asker) -> None:
    async with one_answer(b"", head=b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as base_url:
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
    async with one_answer(answer) as base_url:
        model.spec = replace(model.spec, base_url=base_url)
        with pytest.raises(ModelBadResponse):
            await model.ask("hello")
