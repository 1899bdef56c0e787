"""What the fake model does for one request: a directive, and the steps it turns into.

A directive stands in the newest user message that has one, where the last one counts, or is the
server's default. If the model has answered that message already, and is asked to go on, it says
something else, which follows from the directive and from what it had said:

    [[fake tokens=200 rate=50 seed=7 fault=stall_after:10,keepalive]]

| key | meaning |
| --- | --- |
| `tokens`, `seed`, `rate` | how many pieces, which text, pieces per second (0: all at once) |
| `pieces` | base64url JSON list of the exact pieces, instead of `tokens` and `seed` |
| `events` | base64url JSON list of what follows the last piece and its finish reason, as it is |
| `reasoning` | that many pieces of reasoning first |
| `form` | of the reasoning: `reasoning_content` (default), `reasoning` or `think` |
| `finish` | `stop`, `length`, `content_filter`, … |
| `usage` | `own` chunk (default), `last` with the finish reason, `null`, `none` |
| `retry_after` | what a refused request says: seconds, `date:SECONDS` or `ms:MILLISECONDS` |
| `code` | the error code of a refused request |
| `id` | anything: tells requests that are otherwise alike apart |
| `fault` | comma separated, see `FAULTS` |
| `then` | the same for a request to go on, which otherwise has no faults |
"""

import base64
import json
import random
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from tests.fakes.text import continued_seed, reasoning_pieces, text_pieces

FAULTS = {
    "status": "status:429:2 — the first 2 such requests (default: all) are answered 429",
    "slow_first": "slow_first:1.5 — headers at once, the first piece after 1.5 s",
    "slow_headers": "slow_headers:1.5 — not even headers before 1.5 s",
    "stall_after": "stall_after:10 — silence after 10 pieces, the connection stays open",
    "pause_after": "pause_after:10:0.5 — silence of 0.5 s after 10 pieces",
    "cut_after": "cut_after:10 — connection reset after 10 pieces",
    "close_after": "close_after:10 — connection closed in the middle of the body after 10 pieces",
    "error_data_after": "error_data_after:10 — an error as data after 10 pieces, under a 200",
    "bad_json": "bad_json:10 — an event that is no JSON after 10 pieces",
    "no_finish": "no finish_reason at all",
    "no_done": "the body ends with no [DONE]",
    "empty_choices_first": "a first chunk with `choices: []`",
    "no_delta": "chunks whose choice has no delta, and one whose delta is null, in between",
    "no_role": "no first chunk with the role",
    "refusal": "the text comes as `refusal`",
    "tool_calls": "two tool calls, their arguments in parts, interleaved by index",
    "keepalive": "SSE comments and empty lines between events",
    "crlf": "lines end with CR LF",
    "split": "every event is sent in two parts, cut at any byte, UTF-8 or not",
    "fields": "event:, id: and retry: lines beside data:",
    "ascii": "JSON escapes every character beyond ASCII, surrogate by surrogate",
    "reject_stream_options": "400 to a request with `stream_options`",
    "linger": "the connection stays open for ever after [DONE], body unfinished",
}

_DIRECTIVE = re.compile(r"\[\[fake\s*([^\]]*)\]\]")

Action = Literal["send", "wait", "stall", "reset", "close"]


@dataclass(slots=True)
class Step:
    """One thing to do. A paced step waits for its turn at the directive's rate."""

    data: bytes = b""
    paced: bool = False
    action: Action = "send"
    seconds: float = 0.0
    text: str = ""
    reasoning: str = ""


@dataclass
class Directive:
    """How one request is answered."""

    tokens: int = 24
    rate: float = 50.0
    seed: int = 0
    pieces: list[str] | None = None
    events: list[str] = field(default_factory=list)
    reasoning: int = 0
    form: str = "reasoning_content"
    finish: str = "stop"
    usage: str = "own"
    retry_after: str = ""
    code: str = ""
    id: str = ""
    faults: dict[str, list[str]] = field(default_factory=dict)
    then: dict[str, list[str]] = field(default_factory=dict)

    def after(self, said: str) -> "Directive":
        """How a request to go on after `said` is answered."""
        seed = continued_seed(self.seed, said)
        return replace(self, seed=seed, faults=dict(self.then), finish="stop")

    @property
    def length(self) -> int:
        """How many pieces of text a whole answer has."""
        return self.tokens if self.pieces is None else len(self.pieces)

    def text_pieces(self, limit: int | None = None) -> Iterator[str]:
        """The pieces of text, at most `limit`."""
        pieces = text_pieces(self.seed, self.tokens) if self.pieces is None else self.pieces
        return islice(pieces, limit)

    def number(self, fault: str, position: int = 0, default: float = 0.0) -> float:
        """The numeric argument of a fault; `default` if the fault or the argument is absent."""
        arguments = self.faults.get(fault, [])
        return float(arguments[position]) if len(arguments) > position else default


def parse_directive(text: str, default: Directive) -> Directive:
    """The directive in `text`, over `default`. Its seed, if not given, comes from the text.

    Raises ValueError on an unknown key or fault: a test must not pass by a typo.
    """
    values: dict[str, Any] = dict(vars(default))
    values["faults"], values["then"] = dict(default.faults), dict(default.then)
    values["seed"] = default.seed or zlib.crc32(text.encode())
    # The last one: turns of one role that follow each other reach the model joined.
    if matches := _DIRECTIVE.findall(text):
        for item in matches[-1].split():
            key, _, value = item.partition("=")
            if key in ("fault", "then"):
                for fault in value.split(","):
                    name, *arguments = fault.split(":")
                    if name not in FAULTS:
                        raise ValueError(f"no such fault: {name}")
                    values["faults" if key == "fault" else "then"][name] = arguments
            elif key in ("pieces", "events"):
                values[key] = json.loads(base64.urlsafe_b64decode(value))
            elif key not in values:
                raise ValueError(f"no such key: {key}")
            else:
                values[key] = type(values[key])(value)
    return Directive(**values)


def directives_in(text: str) -> list[str]:
    """The directives in a text, without their brackets."""
    return [match.strip() for match in _DIRECTIVE.findall(text)]


def directive(
    *, pieces: Sequence[str] | None = None, events: Sequence[str] | None = None, **keys: object
) -> str:
    """A directive to put into a message: `directive(tokens=5, fault="cut_after:2")`."""
    for key, texts in (("pieces", pieces), ("events", events)):
        if texts is not None:
            keys[key] = base64.urlsafe_b64encode(json.dumps(list(texts)).encode()).decode()
    return "[[fake " + " ".join(f"{key}={value}" for key, value in keys.items()) + "]]"


class ChunkWriter:
    """Writes the chunks of one streamed chat completion as OpenAI does."""

    def __init__(self, request: dict[str, Any], identifier: str, wanted: Directive) -> None:
        self._end = "\r\n" if "crlf" in wanted.faults else "\n"
        self._prefix = (
            f"event: message{self._end}id: {identifier}{self._end}retry: 3000{self._end}"
            if "fields" in wanted.faults
            else ""
        )
        self._dumps = json.JSONEncoder(
            ensure_ascii="ascii" in wanted.faults, separators=(",", ":")
        ).encode
        self.include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        self._with_usage = self.include_usage and wanted.usage != "none"
        self._head = {
            "id": identifier,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": str(request.get("model", "fake")),
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }
        # A chunk for every token of hundreds of streams: only the delta is written anew.
        mark = "@delta@"
        self._before, self._after = self.chunk({mark: 0}).split(self._dumps({mark: 0}).encode())

    def event(self, payload: object) -> bytes:
        return self.raw(self._dumps(payload))

    def raw(self, data: str) -> bytes:
        return f"{self._prefix}data: {data}{self._end}{self._end}".encode(errors="surrogatepass")

    def delta(self, delta: dict[str, Any]) -> bytes:
        """As `chunk(delta)`, but faster."""
        data = self._dumps(delta).encode(errors="surrogatepass")
        return b"".join((self._before, data, self._after))

    def chunk(
        self,
        delta: dict[str, Any] | None,
        *,
        finish: str | None = None,
        usage: dict[str, Any] | None = None,
        choices: list[dict[str, Any]] | None = None,
    ) -> bytes:
        if choices is None:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            choices = [choice]
        payload = {**self._head, "choices": choices}
        if usage is not None or self._with_usage:
            payload["usage"] = usage
        return self.event(payload)


def usage_of(request: dict[str, Any], output_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    """The usage the fake reports: one token per piece, four characters per prompt token."""
    prompt = sum(len(str(m.get("content", ""))) for m in request.get("messages", [])) // 4
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output_tokens + reasoning_tokens,
        "total_tokens": prompt + output_tokens + reasoning_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens, "audio_tokens": 0},
    }


def steps_of(request: dict[str, Any], identifier: str, wanted: Directive) -> Iterator[Step]:
    """The steps that stream the answer to `request`, faults and all.

    They are made as they are needed, since a thousand tokens at once would hold up every other
    stream.
    """
    steps = _steps(request, ChunkWriter(request, identifier, wanted), wanted)
    return _split(steps, wanted.seed) if "split" in wanted.faults else steps


def _steps(request: dict[str, Any], writer: ChunkWriter, wanted: Directive) -> Iterator[Step]:
    faults = wanted.faults
    if "slow_first" in faults:
        yield Step(action="wait", seconds=wanted.number("slow_first"))
    if "empty_choices_first" in faults:
        yield Step(writer.chunk(None, choices=[]))
    if "no_role" not in faults:
        yield Step(writer.chunk({"role": "assistant", "content": "", "refusal": None}))

    yield from _reasoning_steps(writer, wanted)
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    pieces = wanted.text_pieces(limit)
    finish = "length" if limit is not None and limit < wanted.length else wanted.finish
    if "tool_calls" in faults:
        finish = "tool_calls"
        yield from _tool_call_steps(writer)
        pieces = iter(())
    key = "refusal" if "refusal" in faults else "content"
    position = 0
    if faults:
        yield from _steps_after(0, writer, wanted)
    for piece in pieces:
        yield Step(writer.delta({key: piece}), paced=True, text=piece)
        position += 1
        if faults:
            yield from _steps_after(position, writer, wanted)

    usage = usage_of(request, position, wanted.reasoning)
    if "no_finish" not in faults:
        yield Step(writer.chunk({}, finish=finish, usage=usage if wanted.usage == "last" else None))
    if wanted.usage == "own" and writer.include_usage:
        yield Step(writer.chunk(None, choices=[], usage=usage))
    for event in wanted.events:
        yield Step(writer.raw(event))
    if "no_done" not in faults:
        yield Step(writer.raw("[DONE]"))
    if "linger" in faults:
        yield Step(action="stall")


def _reasoning_steps(writer: ChunkWriter, wanted: Directive) -> Iterator[Step]:
    if not wanted.reasoning:
        return
    pieces = reasoning_pieces(wanted.seed, wanted.reasoning)
    if wanted.form != "think":
        for piece in pieces:
            delta = {wanted.form: piece, "content": None}
            yield Step(writer.delta(delta), paced=True, reasoning=piece)
        return
    # Inline tags reach a reader cut anywhere, since they are ordinary tokens to the model.
    for part in ("<th", "ink>"):
        yield Step(writer.delta({"content": part}), paced=True)
    for piece in pieces:
        yield Step(writer.delta({"content": piece}), paced=True, reasoning=piece)
    for part in ("</", "thi", "nk>"):
        yield Step(writer.delta({"content": part}), paced=True)


def _tool_call_steps(writer: ChunkWriter) -> list[Step]:
    def part(index: int, arguments: str, name: str | None = None) -> Step:
        call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
        if name is not None:
            call |= {"id": f"call_{index}", "type": "function"}
            call["function"]["name"] = name
        return Step(writer.chunk({"tool_calls": [call]}), paced=True)

    return [
        part(0, "", "get_weather"),
        part(0, '{"city": "Mün'),
        part(1, "", "get_time"),
        part(0, 'chen"}'),
        part(1, '{"zone": '),
        part(1, '"CET"}'),
    ]


def _steps_after(position: int, writer: ChunkWriter, wanted: Directive) -> list[Step]:
    """What a fault inserts once `position` pieces have been sent."""
    faults = wanted.faults
    steps: list[Step] = []
    if "keepalive" in faults and position % 3 == 0:
        steps.append(Step(b": keep-alive\n\n:\n\n"))
    if "no_delta" in faults and position % 3 == 1:
        without = {"index": 0, "finish_reason": None}
        steps.append(Step(writer.chunk(None, choices=[without])))
        steps.append(Step(writer.chunk(None)))
    if "pause_after" in faults and wanted.number("pause_after") == position:
        steps.append(Step(action="wait", seconds=wanted.number("pause_after", 1)))
    if "bad_json" in faults and wanted.number("bad_json") == position:
        steps.append(Step(writer.raw('{"choices": [{"delta": {"content": "x')))
    if "error_data_after" in faults and wanted.number("error_data_after") == position:
        error = {"message": "secret upstream detail", "type": "server_error", "code": None}
        steps.append(Step(writer.event({"error": error})))
        steps.append(Step(action="close"))
    for fault, action in (
        ("stall_after", "stall"),
        ("cut_after", "reset"),
        ("close_after", "close"),
    ):
        if fault in faults and wanted.number(fault) == position:
            steps.append(Step(action=action))  # type: ignore[arg-type]
    return steps


def _split(steps: Iterator[Step], seed: int) -> Iterator[Step]:
    """The same bytes in twice as many writes."""
    source = random.Random(seed)
    for step in steps:
        if len(step.data) < 2:
            yield step
            continue
        cut = source.randrange(1, len(step.data))
        yield Step(step.data[:cut], paced=step.paced)
        yield Step(step.data[cut:], paced=True, text=step.text, reasoning=step.reasoning)
