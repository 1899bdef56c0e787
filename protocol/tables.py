"""The tables of docs/protocol.md that follow from the declarations of frames and errors."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from protocol.errors import ErrorCode, ReplyError
from protocol.events import Limits
from protocol.frames import COMMANDS, EVENTS, Ack, Frame, Order, WhenSlow
from protocol.limits import CloseCode

_MARKED: Final = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
_ORDERED_BY: Final = {
    Order.CONVERSATION: "conversation",
    Order.PERSON: "person",
    Order.NOBODY: "–",
}
_WHEN_SLOW: Final = {WhenSlow.KEPT: "", WhenSlow.MERGED: "merged", WhenSlow.DROPPED: "dropped"}


def fill(page: str) -> str:
    """Return a Markdown page with every marked table made anew. Raises KeyError for an unknown."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", page)


def _commands() -> str:
    return _table(
        ("`type`", "fields", "the answer carries", "over REST"),
        (
            (
                f"`{name}`",
                _fields(command, besides={"type", "id"}),
                _fields(command.answer, besides={"type", "id"})
                if issubclass(command.answer, Ack)
                else f"is `{_kind(command.answer)}`",
                f"`{command.rest}`" if command.rest else "",
            )
            for name, command in COMMANDS.items()
        ),
    )


def _events() -> str:
    return _table(
        ("`type`", "fields", "numbered by", "to a slow client"),
        (
            (
                f"`{name}`",
                _fields(event, besides={"type"}),
                _ORDERED_BY[event.order],
                _WHEN_SLOW[event.when_slow],
            )
            for name, event in EVENTS.items()
        ),
    )


def _close_codes() -> str:
    rows = ((str(int(code)), code.why, code.then) for code in CloseCode)
    return _table(("code", "reason", "what to do"), rows)


def _limits() -> str:
    return _table(
        ("`hello.limits`", "how much", "of what"),
        (
            (f"`{name}`", f"{field.default:,.0f}", field.description or "")
            for name, field in Limits.model_fields.items()
        ),
    )


def _error_codes() -> str:
    rows = ((f"`{code}`", str(code.status or "–"), code.meaning) for code in ErrorCode)
    return _table(("code", "status", ""), rows)


def _reply_errors() -> str:
    return _table(("code", ""), ((f"`{code}`", code.meaning) for code in ReplyError))


TABLES: Final[dict[str, Callable[[], str]]] = {
    "commands": _commands,
    "events": _events,
    "close_codes": _close_codes,
    "limits": _limits,
    "error_codes": _error_codes,
    "reply_errors": _reply_errors,
}


def _kind(frame: type[Frame]) -> str:
    return str(frame.model_fields["type"].default)


def _fields(frame: type[Frame], *, besides: set[str]) -> str:
    required: list[str] = []
    optional: list[str] = []
    for name, field in frame.model_fields.items():
        if name in besides:
            continue
        stated = f"`{name}`" + (f" ({field.description})" if field.description else "")
        (required if field.is_required() or frame in EVENTS.values() else optional).append(stated)
    parts = [", ".join(required), f"optional {', '.join(optional)}" if optional else ""]
    return "; ".join(part for part in parts if part)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("  |", " |")
