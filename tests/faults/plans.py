"""What each message asks of the model, and exactly what must come of it."""

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from tests.fakes.openai_server import Record
from tests.fakes.script import Directive, directive, parse_directive
from tests.fakes.text import expected_text, text_pieces

IDLE_SECONDS = 3.0  # REPLY_TIMEOUT_IDLE of the workers, which a stalled model outlasts

# Fault of the model, its weight, how the reply must end.
_KINDS = (
    ("", 60, "complete"),
    ("status:429:1", 6, "complete"),
    ("slow_first:1.5", 4, "complete"),
    ("pause_after:{at}:1.2", 6, "complete"),
    ("split,keepalive", 6, "complete"),
    ("no_finish", 4, "interrupted"),
    ("error_data_after:{at}", 5, "failed"),
    ("close_after:{at}", 5, "failed"),
    ("stall_after:{at}", 4, "failed"),
)


@dataclass(frozen=True)
class Plan:
    """A directive, taken apart."""

    tokens: int
    seed: int
    fault: str
    status: str
    text: str  # of the reply, if it ends as planned
    whole: str  # of a reply without faults
    plain: bool  # the model speaks without a pause from the first to the last token


def draw(source: random.Random, *, tokens: int, number: int) -> str:
    """Return the content of a message that asks for a reply of some kind."""
    kinds, weights = [kind for kind, _, _ in _KINDS], [weight for _, weight, _ in _KINDS]
    fault = source.choices(kinds, weights)[0].format(at=source.randint(1, tokens - 1))
    wanted: dict[str, Any] = {"tokens": tokens, "seed": source.randrange(1, 2**31)}
    if fault:
        wanted["fault"] = fault
    if "429" in fault:
        wanted["retry_after"] = "1"
    return f"Go on. {directive(**wanted, id=f'n{number}')}"


@lru_cache(maxsize=8192)
def plan_of(content: str) -> Plan:
    """Return what a message asks for."""
    wanted = parse_directive(content, Directive())
    whole = expected_text(wanted.seed, wanted.tokens)
    faults = wanted.faults
    status, text = "complete", whole
    if "no_finish" in faults:
        status = "interrupted"
    for name in ("error_data_after", "close_after", "stall_after"):
        if name in faults:
            status = "failed"
            text = "".join(islice(text_pieces(wanted.seed, wanted.tokens), int(faults[name][0])))
    plain = not faults or set(faults) <= {"split", "keepalive"}
    return Plan(wanted.tokens, wanted.seed, ",".join(faults), status, text, whole, plain)


def directive_in(text: str) -> str:
    """Return the directive that a message, or a prompt of several, is answered by."""
    return text[text.rindex("[[fake") :].partition("]]")[0]


def said(records: list[Record]) -> dict[str, list[Record]]:
    """Return by directive what the model itself recorded of its runs."""
    runs: dict[str, list[Record]] = {}
    for record in records:
        if record.status == 200 and "[[fake" in record.prompt:
            runs.setdefault(directive_in(record.prompt), []).append(record)
    return runs
