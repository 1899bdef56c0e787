"""Answers of another shape than promised, and what is kept of one that is too long."""

import json
from collections.abc import Callable
from dataclasses import replace

import openai
import pytest

from chat.llm import (
    Finish,
    ModelError,
    ModelErrorInStream,
    Timeouts,
    ToolCall,
    Turn,
    Usage,
    estimate_usage,
)
from chat.llm.spec import MAX_FINISH_REASON, MAX_MODEL_NAME
from chat.llm.stream import CHARACTERS_PER_TOKEN
from tests.chat.asker import Asker, one_answer
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive

pytestmark = pytest.mark.usefixtures("model_clients")


Kept = Callable[[Asker, Finish], str]


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
    async with one_answer(f"data: {said}\n\n".encode(), length=1000) as base_url:
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
