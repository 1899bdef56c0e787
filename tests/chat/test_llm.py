"""The way to a model, against the fake model server: the wire as it is, and as it breaks."""

import json
from dataclasses import replace

import pytest

from chat.llm import (
    ModelErrorInStream,
    ModelSpec,
    ToolCall,
    Turn,
    Usage,
    estimate_usage,
)
from tests.chat.asker import Asker
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_reasoning, expected_text

pytestmark = pytest.mark.usefixtures("model_clients")


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
