"""One LISTEN per group, or a fixed number of shards? python -m bench.layer.shards

So many shards that no two groups share one is LISTEN per group; everything else stays the same.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from . import cases, servers
from .__main__ import RESULTS
from .peers import CHATIRE

PER_GROUP = 2**31
SHARDS = (1, 4, 16, PER_GROUP)
GROUPS = (1, 1_000, 10_000)


def measure(shards: int, groups: int, rounds: int) -> dict[str, float]:
    """Medians for one number of shards and of groups joined in one process."""
    os.environ["BENCH_SHARDS"] = str(shards)
    names = [f"group-{n}" for n in range(groups)]
    share = -(-groups // min(groups, 200))
    members = [names[n : n + share] for n in range(0, groups, share)]
    active = names[:: max(1, groups // 50)][:50]
    runs: dict[str, list[float]] = {}
    for _ in range(rounds):
        figures = cases.throughput(
            CHATIRE, groups=0, seconds=2, members=members, active=active
        ) | cases.latency(CHATIRE, members=members, groups=names, seconds=2, rate=500)
        for name, value in figures.items():
            runs.setdefault(name, []).append(value)
    return {name: round(statistics.median(values), 3) for name, values in runs.items()}


def main() -> int:
    results = []
    with servers.postgres() as database:
        os.environ["DATABASE_URL"] = database
        os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
        subprocess.run([sys.executable, "-m", "django", "migrate", "--verbosity", "0"], check=True)
        for groups in GROUPS:
            for shards in SHARDS:
                row = {"groups": groups, "shards": "per group" if shards == PER_GROUP else shards}
                row |= measure(shards, groups, 3)
                print(row, flush=True)
                results.append(row)
    (RESULTS / "shards.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
