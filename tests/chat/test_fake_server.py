"""The fake model server itself: a fake that errs would make liars of all tests that use it."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from tests.fakes.openai_server import RunningServer
from tests.fakes.script import FAULTS, Directive, directive, parse_directive
from tests.fakes.text import continued_seed, expected_text, text_pieces


def ask(server: RunningServer, prompt: str, **parameters: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **parameters}
    return httpx.post(f"{server.base_url}/chat/completions", json=body)


def events(response: httpx.Response) -> list[Any]:
    """The events' data, parsed as the standard says; the last must be [DONE]."""
    *parts, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(part.removeprefix("data: ")) for part in parts]


def test_a_seed_always_gives_the_same_text() -> None:
    assert expected_text(7, 50) == expected_text(7, 50) != expected_text(8, 50)
    assert expected_text(7, 50).startswith(expected_text(7, 49))


def test_texts_hold_what_breaks_readers() -> None:
    text = expected_text(1, 3000)
    for awkward in ("\r\n", "\u2028", "👩‍👩‍👧‍👦", "data: [DONE]", "```", "<b>", "e\u0301"):
        assert awkward in text
    assert "" in text_pieces(1, 3000)


def test_a_stream_has_openais_shape(fake_model: RunningServer) -> None:
    response = ask(
        fake_model,
        directive(tokens=5, seed=3, rate=0),
        stream=True,
        stream_options={"include_usage": True},
    )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    first, *middle, last, usage = events(response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [c["choices"][0]["delta"]["content"] for c in middle] == list(text_pieces(3, 5))
    assert last["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 5
    assert all(chunk["usage"] is None for chunk in (first, *middle, last))
    assert {chunk["id"] for chunk in (first, *middle, last, usage)} == {first["id"]}


def test_usage_is_sent_only_to_who_asks(fake_model: RunningServer) -> None:
    chunks = events(ask(fake_model, directive(tokens=2, rate=0), stream=True))
    assert all("usage" not in chunk for chunk in chunks)


def test_an_answer_can_come_whole(fake_model: RunningServer) -> None:
    answer = ask(fake_model, directive(tokens=5, seed=3, rate=0)).json()
    assert answer["choices"][0]["message"]["content"] == expected_text(3, 5)
    assert answer["usage"]["completion_tokens"] == 5


def test_max_tokens_cuts_the_answer(fake_model: RunningServer) -> None:
    prompt = directive(tokens=5, seed=3, rate=0)
    *_, last = events(ask(fake_model, prompt, stream=True, max_completion_tokens=2))
    assert last["choices"][0]["finish_reason"] == "length"
    assert fake_model.records[0].text == expected_text(3, 2)


def test_models_are_listed(fake_model: RunningServer) -> None:
    assert httpx.get(f"{fake_model.base_url}/models").json()["data"][0]["id"] == "fake"


def test_a_record_tells_what_was_asked_and_sent(fake_model: RunningServer) -> None:
    prompt = "Hello " + directive(tokens=5, seed=3, rate=0)
    ask(fake_model, prompt, stream=True, temperature=0.1)
    [record] = httpx.get(f"{fake_model.base_url[:-3]}/control/requests").json()
    assert record["body"]["temperature"] == 0.1
    assert record["body"]["messages"][0]["content"] == prompt
    assert record["text"] == expected_text(3, 5)
    assert record["end"] == "complete"
    assert record["received_at"] <= record["first_piece_at"] <= record["ended_at"]


def test_records_can_be_cleared_and_a_default_set(fake_model: RunningServer) -> None:
    control = f"{fake_model.base_url[:-3]}/control"
    httpx.put(f"{control}/default", json={"directive": "[[fake fault=status:503]]"})
    assert ask(fake_model, "hello", stream=True).status_code == 503
    httpx.delete(f"{control}/requests")
    assert httpx.get(f"{control}/requests").json() == []
    assert ask(fake_model, directive(rate=0), stream=True).status_code == 200


def test_asked_to_go_on_it_says_what_follows_from_what_it_had_said(
    fake_model: RunningServer,
) -> None:
    question = directive(rate=0, tokens=9, seed=4, fault="no_finish", then="error_data_after:5")
    turns = [("user", question), ("assistant", "So far, "), ("user", "Go on.")]
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": role, "content": content} for role, content in turns],
    }
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{fake_model.base_url}/chat/completions", json=body)
    [record] = fake_model.records
    assert record.said == "So far, "
    assert record.text == "".join(text_pieces(continued_seed(4, "So far, "), 5))
    assert record.text != expected_text(4, 5)
    assert record.end == "cut"


def test_without_a_directive_the_text_depends_on_the_prompt(fake_model: RunningServer) -> None:
    for prompt in ("one", "two", "one"):
        ask(fake_model, prompt, stream=True)
    one, two, again = fake_model.records
    assert one.text == again.text != two.text


def test_pieces_are_paced(fake_model: RunningServer) -> None:
    ask(fake_model, directive(tokens=11, seed=1, rate=50), stream=True)
    record = fake_model.wait_for_end()  # a client may have all before the server notes it
    assert record.first_piece_at is not None
    assert record.ended_at is not None
    # Ten intervals of 20 ms; a busy machine makes it later, nothing makes it earlier.
    assert record.ended_at - record.first_piece_at >= 0.19


def test_a_client_that_leaves_is_noticed(fake_model: RunningServer) -> None:
    prompt = directive(tokens=500, seed=1, rate=50)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    with httpx.stream("POST", f"{fake_model.base_url}/chat/completions", json=body) as response:
        next(response.iter_raw())
    record = fake_model.wait_for_end()
    assert record.end == "disconnected"
    assert record.text == expected_text(1, record.pieces)


def test_a_fault_strikes_as_often_as_asked(fake_model: RunningServer) -> None:
    prompt = directive(rate=0, fault="status:429:2", retry_after="3", id="x")
    responses = [ask(fake_model, prompt, stream=True) for _ in range(3)]
    assert [response.status_code for response in responses] == [429, 429, 200]
    assert responses[0].headers["retry-after"] == "3"


@pytest.mark.parametrize("text", ["[[fake fault=typo]]", "[[fake typo=1]]", "[[fake tokens=x]]"])
def test_a_directive_with_a_typo_is_refused(fake_model: RunningServer, text: str) -> None:
    assert ask(fake_model, text, stream=True).status_code == 400
    with pytest.raises(ValueError, match=r"typo|invalid literal"):
        parse_directive(text, Directive())


def test_every_fault_is_described() -> None:
    assert all(FAULTS.values())


def test_a_request_may_come_in_any_number_of_parts(fake_model: RunningServer) -> None:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": directive(tokens=3, rate=0)}]}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def send() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", fake_model.server.port)
        data = head + body
        for start in range(0, len(data), 7):
            writer.write(data[start : start + 7])
            await writer.drain()
        answer = await reader.readuntil(b"}]")
        writer.close()
        return answer

    assert asyncio.run(send()).startswith(b"HTTP/1.1 200 ")


def test_it_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "tests.fakes.openai_server", "--tokens", "3", "--rate", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().split()[-1]
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        answer = httpx.post(f"{base_url}/chat/completions", json=body).json()
        process.terminate()
    assert answer["usage"]["completion_tokens"] == 3


def test_unknown_paths_are_404(fake_model: RunningServer) -> None:
    assert httpx.get(f"{fake_model.base_url}/nothing").status_code == 404
