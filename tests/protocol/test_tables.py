"""The tables of docs/protocol.md follow from the declarations of frames."""

import re
from pathlib import Path

import pytest

from protocol.errors import ErrorCode, ReplyError
from protocol.frames import COMMANDS, EVENTS
from protocol.limits import CloseCode
from protocol.tables import TABLES, fill

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def test_the_page_is_as_it_would_be_made() -> None:
    assert fill(PAGE) == PAGE
    assert set(re.findall(r"<!-- table: (\w+) -->", PAGE)) == set(TABLES)


@pytest.mark.parametrize(
    ("table", "first_cells"),
    [
        ("commands", [f"`{name}`" for name in COMMANDS]),
        ("events", [f"`{name}`" for name in EVENTS]),
        ("close_codes", [str(int(code)) for code in CloseCode]),
        ("error_codes", [f"`{code}`" for code in ErrorCode]),
        ("reply_errors", [f"`{code}`" for code in ReplyError]),
    ],
)
def test_every_declaration_has_its_row(table: str, first_cells: list[str]) -> None:
    lines = TABLES[table]().splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == first_cells


def test_a_row_names_what_a_frame_says_and_no_more() -> None:
    (sent,) = [line for line in TABLES["commands"]().splitlines() if "`message.send`" in line]
    assert "`client_id`, `content`, `conversation`; optional `parent`" in sent
    assert "`message`, `reply`" in sent
    (typing,) = [line for line in TABLES["events"]().splitlines() if "`typing`" in line]
    assert typing.startswith("| `typing` | `conversation`, `users` (those who began first,")
    assert typing.endswith("`count` (of all who type) | – | dropped |")
