"""What goes to a model and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# The stream itself owns these; a parameter of an assistant must not replace them.
RESERVED_PARAMETERS = frozenset({"messages", "model", "stream", "stream_options"})
# Characters that are kept of why a reply ended and of what the model calls itself.
MAX_FINISH_REASON = 20
MAX_MODEL_NAME = 120


@dataclass(frozen=True)
class ModelSpec:
    """Which model, where, and how it is asked.

    `base_url` None means OpenAI itself. `extra` goes into the request's JSON body as it is.
    Raises ValueError if `extra` names a field that the stream itself sets.
    """

    model: str
    base_url: str | None
    api_key: str = field(repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if reserved := RESERVED_PARAMETERS & self.extra.keys():
            raise ValueError(f"parameters that cannot be set: {', '.join(sorted(reserved))}")


@dataclass(frozen=True)
class Timeouts:
    """How long a model may take, in seconds.

    `first_token` runs from the request to the first text, reasoning or tool call; `idle` is the
    longest silence after that, where any chunk counts but a keep-alive comment does not; `total`
    bounds the whole reply. Time the caller spends between two items counts only towards `total`.
    """

    connect: float = 5.0
    first_token: float = 60.0
    idle: float = 30.0
    total: float = 600.0


@dataclass(frozen=True)
class Turn:
    """One message of the history as the model sees it."""

    role: Literal["system", "user", "assistant"]
    content: str
    name: str | None = None


class Delta(NamedTuple):
    """A piece of the reply: its text, its reasoning, or both. Never both empty.

    Both are fit to be stored: no NUL (which PostgreSQL refuses) and no lone surrogate (which
    UTF-8 cannot hold); U+FFFD stands in their place.
    """

    text: str = ""
    reasoning: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens, as the provider reports them or, when it does not, as `estimate_usage` guesses."""

    input_tokens: int
    output_tokens: int
    estimated: bool


@dataclass(frozen=True)
class ToolCall:
    """A function the model asks for; `arguments` is JSON text as the model wrote it, unchecked."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Finish:
    """How a reply ended.

    `finish_reason` is the provider's (`stop`, `length`, `content_filter`, `tool_calls`, …) or
    None when the stream ended without one: the reply was interrupted. `refusal` is what the model
    wrote instead of an answer; it is not among the deltas. `model` is the model's own name. All
    of it is fit to be stored, as deltas are.
    """

    finish_reason: str | None
    usage: Usage
    refusal: str | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    model: str | None = None
