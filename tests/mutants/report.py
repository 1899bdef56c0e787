"""What became of the mutants: a table by group, and every one that survived."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.mutants.modules import CLIENT, GROUPS

# A test failed, or the mutant made the tests hang or the process die.
KILLED = {"killed", "timeout"}
# No test failed, or none runs the line.
SURVIVED = {"survived", "no_coverage"}


@dataclass(frozen=True)
class Verdict:
    """One mutant and what became of it."""

    group: str
    file: str
    line: int
    before: str
    after: str
    status: str
    # Which test failed, how many ran, how many reach it, and how long they took.
    test: str = ""
    tests: int = 0
    reaching: int = 0
    seconds: float = 0.0


def status_of(result: dict[str, Any]) -> str:
    """Return what a session's exit status says of its mutant."""
    status = result["status"]
    if status is None:
        return "timeout"
    if status == 0:
        return "survived"
    # By a signal, or with a test that failed; all else is no verdict.
    return "killed" if status < 0 or result.get("failed") else "error"


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the table by group."""
    counts: dict[str, Counter[str]] = {group: Counter() for group in (*GROUPS, CLIENT)}
    for verdict in verdicts:
        counts[verdict.group][verdict.status] += 1
    lines = ["| what | killed | survived | total | killed of total | equivalent |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    lines += [_row(group, counts[group]) for group in counts if counts[group]]
    lines.append(_row("**all**", sum(counts.values(), Counter())))
    return "\n".join(lines)


def _row(name: str, counts: Counter[str]) -> str:
    killed = sum(counts[status] for status in KILLED)
    survived = sum(counts[status] for status in SURVIVED)
    total = killed + survived
    share = f"{100 * killed / total:.0f} %" if total else ""
    return f"| {name} | {killed} | {survived} | {total} | {share} | {counts['equivalent']} |"


def survivors(verdicts: Iterable[Verdict]) -> str:
    """Return the list of what no test noticed, as Markdown."""
    left = sorted((v for v in verdicts if v.status in SURVIVED), key=lambda v: (v.file, v.line))
    return "\n".join(line for verdict in left for line in _survivor(verdict))


def _survivor(verdict: Verdict) -> Sequence[str]:
    note = " (no test runs it)" if verdict.status == "no_coverage" else ""
    if verdict.tests < verdict.reaching:
        note = f" (the fastest {verdict.tests} of {verdict.reaching} tests)"
    return (
        f"- `{verdict.file}:{verdict.line}`{note}",
        "  ```diff",
        f"  - {verdict.before}",
        f"  + {verdict.after}",
        "  ```",
    )


def write(folder: Path, verdicts: Sequence[Verdict], facts: dict[str, Any]) -> None:
    """Write report.json and report.md."""
    content = {**facts, "mutants": [asdict(verdict) for verdict in verdicts]}
    (folder / "report.json").write_text(json.dumps(content, indent=1))
    lines = [table(verdicts), "", "Survivors:", "", survivors(verdicts) or "none", ""]
    (folder / "report.md").write_text("\n".join(lines))
