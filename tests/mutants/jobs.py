"""What the server is asked to run: the suite once without a mutant, then mutants."""

import json
import os
import subprocess
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from tests.mutants.modules import test_files
from tests.mutants.mutation import Mutant
from tests.mutants.session import STATS

FILE_SECONDS = 600.0  # for a test file without a mutant
# A mutant's tests get this many times what they took without it, and this on top.
PATIENCE, GRACE = 4.0, 20.0
# Seconds of tests, as long as they take without a mutant, that one mutant may cost.
BUDGET = 60.0
# One test may take this long, or PATIENCE times the slowest test.
TEST_SECONDS = 15.0
# Tests that may fail without a mutant before the run is given up.
TOLERATED = 10


@dataclass(frozen=True)
class Suite:
    """Which tests reach a function, how long each takes, and which fail without a mutant."""

    reached: dict[str, list[str]]
    seconds: dict[str, float]
    failed: list[str]
    budget: float = BUDGET

    def reaching(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach the mutant: the fastest first, and last of all those
        whose fixtures alone do."""
        return self.reached.get(mutant.function, [])

    def tests(self, mutant: Mutant) -> list[str]:
        """Return those of them that run: as many as fit into the budget."""
        total = accumulate(self.seconds[test] for test in self.reaching(mutant))
        fitting = bisect_right(list(total), self.budget)
        return self.reaching(mutant)[: max(1, fitting)]


def survey(tree: Path, digest: str, processes: int) -> Suite:
    """Run the suite without a mutant. A test that fails is left out of what follows.

    What was found is kept for the next run of the same code, as `digest` says.
    """
    kept = tree.parent / "suite.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        if known.pop("digest") == digest:
            return Suite(**known)
    suite = _survey(tree, processes)
    found = {"reached": suite.reached, "seconds": suite.seconds, "failed": suite.failed}
    kept.write_text(json.dumps({"digest": digest, **found}))
    return suite


def _survey(tree: Path, processes: int) -> Suite:
    seconds: dict[str, float] = {}
    called: dict[str, set[str]] = defaultdict(set)
    prepared: dict[str, set[str]] = defaultdict(set)
    failed: list[str] = []
    waiting: dict[str, list[str]] = {file: [] for file in test_files(tree)}
    while waiting:
        jobs = [
            {
                "id": file,
                "mutant": STATS,
                "tests": [file],
                "without": without,
                "seconds": FILE_SECONDS,
                "timeout": 60,
            }
            for file, without in waiting.items()
        ]
        again: dict[str, list[str]] = {}
        for result in execute(tree, jobs, processes):
            file = result["id"]
            print(f"  {file}: {result['spent']:.0f} s", flush=True)
            seconds |= result.get("seconds", {})
            for noted, what in ((called, "called"), (prepared, "prepared")):
                for test, functions in result.get(what, {}).items():
                    for function in functions:
                        noted[function].add(test)
            if result["status"] != 0:
                bad = result.get("failed")
                failed.append(bad or file)
                why = (result.get("why") or "no outcome").strip().splitlines()[-1]
                print(f"  fails without a mutant: {bad or file}: {why}", flush=True)
                if len(failed) > TOLERATED:
                    sys.exit(f"{result.get('why', '')}\nToo many tests fail without a mutant.")
                if bad and bad != file:
                    done = list(result.get("seconds", {}))
                    again[file] = [*waiting[file], *done, bad]
        waiting = again
    by_speed = {
        function: [
            *sorted(called[function] & seconds.keys(), key=seconds.__getitem__),
            *sorted(
                prepared[function] & seconds.keys() - called[function], key=seconds.__getitem__
            ),
        ]
        for function in called.keys() | prepared.keys()
    }
    return Suite(by_speed, seconds, failed)


def run_mutants(
    tree: Path, mutants: Iterable[Mutant], suite: Suite, processes: int
) -> Iterator[tuple[Mutant, dict[str, Any]]]:
    """Yield each mutant that tests reach with what became of it, as it ends."""
    by_name = {mutant.name: mutant for mutant in mutants if suite.reaching(mutant)}
    jobs = [_job(mutant, suite) for mutant in by_name.values()]
    # The longest first, so that no process is left alone with them at the end.
    jobs.sort(key=lambda job: -job["seconds"])
    for result in execute(tree, jobs, processes):
        yield by_name[result["id"]], result


def _job(mutant: Mutant, suite: Suite) -> dict[str, Any]:
    tests = suite.tests(mutant)
    seconds = [suite.seconds[test] for test in tests]
    return {
        "id": mutant.name,
        "mutant": mutant.name,
        "tests": tests,
        "seconds": GRACE + PATIENCE * sum(seconds),
        "timeout": max(TEST_SECONDS, PATIENCE * max(seconds)),
    }


def execute(tree: Path, jobs: list[dict[str, Any]], processes: int) -> Iterator[dict[str, Any]]:
    """Run the jobs in a server of their own; yield what it says of each."""
    if not jobs:
        return
    listed = tree.parent / "jobs.jsonl"
    listed.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    command = [sys.executable, "-m", "tests.mutants.server", str(listed), str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PY_IGNORE_IMPORTMISMATCH": "1"}
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        for line in server.stdout:
            yield json.loads(line)
    if server.returncode != 0:
        sys.exit(f"the server of tests ended with {server.returncode}")
