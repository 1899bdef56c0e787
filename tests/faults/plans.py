"""What each message asks of the model, and exactly what must come of it."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from tests.fakes.openai_server import Record
from tests.fakes.script import Directive, directive, directives_in, parse_directive
from tests.fakes.text import expected_text, text_pieces

IDLE_SECONDS = 3.0  # REPLY_TIMEOUT_IDLE of the workers, which a stalled model outlasts
LONGEST = 260  # tokens of one run
_TITLE_TOKENS = 30  # max_tokens of a request for a title, which quotes the directive

# Fault of the model, its weight, how the reply must end.
_KINDS = (
    ("", 52, "complete"),
    ("length", 8, "complete"),
    ("status:429:1", 6, "complete"),
    ("slow_first:1.5", 4, "complete"),
    ("pause_after:{at}:1.2", 6, "complete"),
    ("split,keepalive", 6, "complete"),
    ("no_finish", 4, "interrupted"),
    ("error_data_after:{at}", 5, "failed"),
    ("close_after:{at}", 5, "failed"),
    ("stall_after:{at}", 4, "failed"),
)
# Of a run that goes on after another.
_THEN = (
    ("", 60),
    ("split,keepalive", 10),
    ("pause_after:{at}:1.2", 8),
    ("no_finish", 7),
    ("error_data_after:{at}", 8),
    ("close_after:{at}", 7),
)


@dataclass(frozen=True)
class Plan:
    """What one run of the model is to say, and how that ends."""

    tokens: int
    seed: int
    fault: str
    status: str
    text: str  # of the run, if it ends as planned
    whole: str  # of a run without faults
    finish: str
    plain: bool  # the model speaks without a pause from the first to the last token


def draw(source: random.Random, *, tokens: int, number: int) -> str:
    """Return the content of a message that asks for a reply of some kind."""
    wanted: dict[str, Any] = {"tokens": tokens, "seed": source.randrange(1, 2**31)}
    fault, then = (
        source.choices([one[0] for one in kinds], [one[1] for one in kinds])[0].format(
            at=source.randint(1, tokens - 1)
        )
        for kinds in (_KINDS, _THEN)
    )
    if fault == "length":
        wanted["finish"] = "length"
    elif fault:
        wanted["fault"] = fault
    if then:
        wanted["then"] = then
    if "429" in fault:
        wanted["retry_after"] = "1"
    return f"Go on. {directive(**wanted, id=f'n{number}')}"


def reword(content: str, number: int) -> str:
    """Return another wording of a message that asks for the same."""
    return f"Go on, wording {number}. [[{content.partition('[[')[2]}"


@lru_cache(maxsize=4096)
def plan_of(content: str, said: str = "") -> Plan:
    """Return what a message asks for; after `said`, if the reply is to go on from there."""
    wanted = parse_directive(content, Directive())
    if said.strip():
        wanted = wanted.after(said)
    whole = expected_text(wanted.seed, wanted.tokens)
    faults = wanted.faults
    status, text, finish = "complete", whole, wanted.finish
    if "no_finish" in faults:
        status, finish = "interrupted", ""
    for name in ("error_data_after", "close_after", "stall_after"):
        if name in faults:
            status, finish = "failed", ""
            text = "".join(islice(text_pieces(wanted.seed, wanted.tokens), int(faults[name][0])))
    plain = not faults or set(faults) <= {"split", "keepalive"}
    return Plan(wanted.tokens, wanted.seed, ",".join(faults), status, text, whole, finish, plain)


def can_go_on(row: dict[str, Any]) -> bool:
    """Whether a reply has ended before its time, so that it may be continued."""
    if row["status"] == "complete":
        return bool(row["finish_reason"] == "length")
    return row["status"] in {"cancelled", "interrupted", "failed"}


def directive_in(text: str) -> str:
    """Return the directive that a message is answered by; empty if it has none."""
    return (directives_in(text) or [""])[-1]


def said(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return by directive what the model itself recorded of its runs."""
    runs: dict[str, list[Record]] = {}
    for record in records:
        if record.status == 200 and record.directives and not is_title(record):
            runs.setdefault(record.directives[-1], []).append(record)
    return runs


def is_title(record: Record) -> bool:
    """Whether a title was asked for, not a reply."""
    body = record.body
    return (body.get("max_completion_tokens") or body.get("max_tokens")) == _TITLE_TOKENS
