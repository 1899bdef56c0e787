"""What a run says of its mutants."""

import pytest

from tests.mutants.report import Verdict, status_of, survivors, table


def verdict(status: str, line: int = 1) -> Verdict:
    return Verdict("replies", "a.py", line, "a > b", "a >= b", status)


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"status": 0}, "survived"),
        ({"status": 1, "failed": "tests/test_a.py::test_b"}, "killed"),
        ({"status": -11}, "killed"),
        ({"status": None}, "timeout"),
        ({"status": 4, "failed": None}, "error"),
    ],
)
def test_a_session_s_end_is_a_verdict(result: dict, status: str) -> None:
    assert status_of(result) == status


def test_what_hangs_is_killed_and_what_no_test_runs_survives() -> None:
    given = ["killed", "timeout", "survived", "no_coverage", "equivalent", "error"]
    text = table(verdict(status) for status in given)
    assert "| replies | 2 | 2 | 4 | 50 % | 1 |" in text


def test_only_survivors_are_listed_in_the_order_of_the_files() -> None:
    text = survivors([verdict("survived", 12), verdict("killed", 1), verdict("no_coverage", 3)])
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- `a.py:3` (no test runs it)",
        "- `a.py:12`",
    ]
