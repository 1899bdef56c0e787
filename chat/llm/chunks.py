"""One chunk of a model's stream, as far as it can be believed.

This is where a stranger's JSON enters, and whatever leaves has the type that it says. What is
beside the reply itself (usage, thoughts, why it ended, the model's name) counts as not sent if it
is not of its kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from chat.llm.spec import Usage

# Beyond what a 32-bit column holds, a number is no count of tokens.
MAX_TOKENS: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """What a chunk says of a tool call; parts with one `index` are of one call."""

    index: int
    id: str
    name: str
    arguments: str


class Chunk(NamedTuple):
    """What one chunk adds to a reply."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    finish_reason: str = ""
    model: str = ""
    usage: Usage | None = None


def read_chunk(chunk: Mapping[str, Any]) -> Chunk:
    """Return what a decoded chunk says.

    Raises TypeError if it is no chunk, or if its text is none: to go on would lose a part of the
    reply, and nobody would notice.
    """
    choice = _our_choice(chunk.get("choices"))
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        raise TypeError("a delta that is no object")
    text = delta.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("content that is no text")
    usage, calls = chunk.get("usage"), delta.get("tool_calls")
    return Chunk(
        text,
        _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")),
        _text(delta.get("refusal")),
        _tool_calls(calls) if calls else (),
        _text(choice.get("finish_reason")),
        _text(chunk.get("model")),
        _usage(usage) if usage else None,
    )


def _our_choice(choices: Any) -> Mapping[str, Any]:
    """The choice numbered 0, or not numbered; others were not asked for and are passed over."""
    if not choices:
        return {}
    if not isinstance(choices, list):
        raise TypeError("choices that are no list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise TypeError("a choice that is no object")
        index = choice.get("index")
        if not isinstance(index, int | float) or index == 0:
            return choice
    return {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    """A count of tokens, however JSON wrote it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Neither infinity (as which 1e400 is read) nor NaN is in these bounds.
    return int(value) if 0 <= value <= MAX_TOKENS and value == int(value) else None


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    read, written = _whole(usage.get("prompt_tokens")), _whole(usage.get("completion_tokens"))
    # Some servers send zeros for "unknown".
    return Usage(read, written, estimated=False) if read is not None and written else None


def _tool_calls(calls: Any) -> tuple[ToolCallPart, ...]:
    if not isinstance(calls, list):
        return ()
    return tuple(
        part
        for position, call in enumerate(calls)
        if (part := _tool_call(call, position)) is not None
    )


def _tool_call(call: Any, position: int) -> ToolCallPart | None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return None
    index = _whole(call.get("index"))
    return ToolCallPart(
        # Some servers send whole calls and do not number them.
        position if index is None else index,
        _text(call.get("id")),
        _text(function.get("name")),
        _text(function.get("arguments")),
    )
