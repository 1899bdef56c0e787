"""The page's mutants, which another tool makes and runs: frontend/scripts/mutants.mjs."""

import json
import subprocess
from pathlib import Path

from tests.mutants.modules import CLIENT
from tests.mutants.report import Verdict

SCRIPT = "scripts/mutants.mjs"
SHARE = 0.2  # of the sample


def has_mutants(root: Path) -> bool:
    """Say whether the page's half is there."""
    return (root / "frontend" / SCRIPT).exists()


def run_client(
    root: Path, report: Path, *, sample: int | None, seed: int, since: str | None
) -> list[Verdict]:
    """Run `sample` of the page's mutants, all if None, or those in lines changed `since`.

    Return the verdicts.
    """
    report.unlink(missing_ok=True)
    command = ["node", SCRIPT, "--seed", str(seed), "--report", str(report)]
    command += ["--sample", str(sample or 0)]
    if since is not None:
        command += ["--since", since]
    subprocess.run(command, cwd=root / "frontend", check=True)
    return [
        Verdict(
            CLIENT,
            f"frontend/{entry['file']}",
            entry["line"],
            entry["mutator"],
            entry["replacement"],
            entry["status"],
        )
        for entry in json.loads(report.read_text())
    ]
