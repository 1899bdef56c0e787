"""Mutation testing.

    python -m tests.mutants [--sample 300] [--seed 1] [--since COMMIT] [--group NAME]

A sample of all mutants that the seed decides or, with `--since`, every mutant in lines that have
changed since the commit; each against the tests that reach its function. Needs DATABASE_URL.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.mutants import database
from tests.mutants.changes import changed_lines
from tests.mutants.client import SHARE, has_mutants, run_client
from tests.mutants.equivalent import key, read_equivalent
from tests.mutants.jobs import BUDGET, Suite, run_mutants, survey
from tests.mutants.modules import CLIENT, GROUPS
from tests.mutants.mutation import Mutant
from tests.mutants.report import SURVIVED, Verdict, status_of, survivors, table, write
from tests.mutants.tree import Tree, plant

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".chatire" / "mutants"
SAMPLE = 300
# Tests wait more than they compute.
PROCESSES = (os.cpu_count() or 1) + 1


def main() -> int:
    """Run it; return the exit status, which is 0 unless a mutant got no verdict."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.split("\n\n")[0])
    parser.add_argument("--sample", type=int, help=f"how many; {SAMPLE} unless --since is given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--since", help="only in lines that have changed since this commit")
    parser.add_argument("--group", choices=sorted(GROUPS), help="only in this group's modules")
    parser.add_argument("--again", action="store_true", help="only what survived the last run")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="seconds of tests that a mutant may cost"
    )
    parser.add_argument("--processes", type=int, default=PROCESSES)
    arguments = parser.parse_args()
    whole = arguments.since or arguments.again
    sample = arguments.sample or (None if whole else SAMPLE)
    print(f"SEED={arguments.seed}", flush=True)
    began = time.monotonic()

    with_client = has_mutants(ROOT) and not (arguments.group or arguments.again)
    share = round(sample * SHARE) if sample and with_client else 0
    tree = plant(ROOT, FOLDER / "tree", arguments.processes)
    mutants = choose(
        tree,
        sample=sample - share if sample else None,
        seed=arguments.seed,
        since=arguments.since,
        group=arguments.group,
    )
    if arguments.again:
        mutants = survived(mutants)
    print(
        f"{len(mutants)} of {len(tree.mutants)} mutants ({tree.wording} of wording and"
        f" {tree.outside_functions} outside functions are left out)",
        flush=True,
    )
    database.make_template(tree.folder)
    print("Running the suite without a mutant", flush=True)
    suite = survey(tree.folder, tree.digest, arguments.processes)
    suite = replace(suite, budget=arguments.budget)
    surveyed = time.monotonic()
    print(f"  {len(suite.seconds)} tests, {surveyed - began:.0f} s so far", flush=True)
    verdicts = run(tree, mutants, suite, arguments.processes)
    if with_client:
        verdicts += run_client(
            ROOT,
            FOLDER / "client.json",
            sample=share or None,
            seed=arguments.seed,
            since=arguments.since,
        )
    facts = {
        "seed": arguments.seed,
        "since": arguments.since,
        "seconds": round(time.monotonic() - began),
        "all": len(tree.mutants),
        "wording": tree.wording,
        "outside_functions": tree.outside_functions,
        "failed_without": suite.failed,
    }
    write(FOLDER, verdicts, facts)
    print(f"\n{survivors(verdicts)}\n\n{table(verdicts)}\n")
    # The page's include those that do not compile.
    without = [v for v in verdicts if v.status == "error" and v.group != CLIENT]
    for verdict in without:
        print(f"no verdict: {verdict.file}:{verdict.line} {verdict.after}")
    print(f"{facts['seconds']} s; {FOLDER / 'report.md'}")
    return 1 if without else 0


def choose(
    tree: Tree, *, sample: int | None, seed: int, since: str | None, group: str | None
) -> list[Mutant]:
    """Return the mutants to run, in the order in which the seed draws them."""
    chosen = sorted(tree.mutants, key=lambda mutant: mutant.name)
    if group is not None:
        chosen = [mutant for mutant in chosen if mutant.group == group]
    if since is not None:
        files = {mutant.file for mutant in chosen}
        changed = {file: changed_lines(ROOT, since, file) for file in files}
        chosen = [mutant for mutant in chosen if mutant.line in changed[mutant.file]]
    if sample is not None and sample < len(chosen):
        chosen = random.Random(seed).sample(chosen, sample)
    return chosen


def survived(mutants: list[Mutant]) -> list[Mutant]:
    """Return those that survived the last run, known by their place and text."""
    last = [
        Verdict(**entry) for entry in json.loads((FOLDER / "report.json").read_text())["mutants"]
    ]
    places = {(v.file, v.line, v.before, v.after) for v in last if v.status in SURVIVED}
    return [m for m in mutants if (m.file, m.line, m.before, m.after) in places]


def run(tree: Tree, mutants: list[Mutant], suite: Suite, processes: int) -> list[Verdict]:
    """Run the mutants; return what became of each."""
    equivalent = read_equivalent(ROOT)
    verdicts = []
    for mutant in mutants:
        if key(mutant) in equivalent:
            verdicts.append(_verdict(mutant, "equivalent"))
        elif not suite.reaching(mutant):
            verdicts.append(_verdict(mutant, "no_coverage"))
    known = {key(mutant) for mutant in tree.mutants}
    for stale in sorted(set(equivalent) - known):
        print(f"equivalent.toml: fits no mutant: {stale}")
    counts = Counter(verdict.status for verdict in verdicts)
    left = [mutant for mutant in mutants if key(mutant) not in equivalent]
    for mutant, result in run_mutants(tree.folder, left, suite, processes):
        verdict = replace(
            _verdict(mutant, status_of(result)),
            test=result.get("failed") or "",
            tests=len(suite.tests(mutant)),
            reaching=len(suite.reaching(mutant)),
            seconds=result["spent"],
        )
        verdicts.append(verdict)
        counts[verdict.status] += 1
        print(
            f"{len(verdicts)}/{len(mutants)} {verdict.seconds:5.1f} s {verdict.status}:"
            f" {mutant.file}:{mutant.line} {mutant.after}",
            flush=True,
        )
    return verdicts


def _verdict(mutant: Mutant, status: str) -> Verdict:
    return Verdict(mutant.group, mutant.file, mutant.line, mutant.before, mutant.after, status)


if __name__ == "__main__":
    sys.exit(main())
