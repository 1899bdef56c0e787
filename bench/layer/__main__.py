"""Compare the layers: python -m bench.layer [--rounds N] [--cases abc] [--seconds S]"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import cases, servers
from .peers import CHATIRE, ON_REDIS, PEERS, PUBSUB, REDIS, TABLES

RESULTS = Path(__file__).parents[1] / "results"
FIFTY = [f"group-{n}" for n in range(50)]
TEN_THOUSAND = [f"group-{n}" for n in range(10_000)]

CONSUMERS = ("Channels' dispatch", "PushMixin")

Runs = dict[str, dict[str, list[float]]]


def plan(seconds: float) -> dict[str, tuple[str, Callable[[str], cases.Figures]]]:
    """The cases by letter: what each is, and how to run it for a peer."""
    return {
        "a": (
            "50 groups × 1 member, flat out",
            lambda peer: cases.throughput(peer, groups=50, seconds=seconds),
        ),
        "b": (
            "50 groups × 1 member, 500/s",
            lambda peer: cases.latency(
                peer, members=[[g] for g in FIFTY], groups=FIFTY, seconds=seconds, rate=500
            ),
        ),
        "c": (
            "one group × 1,000 members, until the last has it",
            lambda peer: cases.fan_out(peer, members=1000, rounds=4 if peer == TABLES else 15),
        ),
        "d": (
            "10,000 groups joined (200 members × 50), 500/s over all",
            lambda peer: cases.latency(
                peer,
                members=[TEN_THOUSAND[n * 50 : n * 50 + 50] for n in range(200)],
                groups=TEN_THOUSAND,
                seconds=seconds,
                rate=500,
            ),
        ),
        "e": ("joining: 2,000 from a cold start", lambda peer: cases.joining(peer, members=2000)),
        "f": (
            "8 threads with async_to_sync",
            lambda peer: cases.threads(peer, count=8, seconds=seconds),
        ),
        "g": (
            "100 kB messages, 4 groups",
            lambda peer: cases.throughput(peer, groups=4, seconds=seconds, size=100_000),
        ),
    }


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--cases", default="abcdefg")
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    arguments.add_argument("--messages", type=int, default=1_000_000, help="for memory; 0: not")
    arguments.add_argument("--dry", action="store_true", help="do not write the results")
    options = arguments.parse_args()

    with servers.postgres() as database, servers.redis() as redis:
        os.environ["DATABASE_URL"] = database
        os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
        peers = [peer for peer in options.peers if redis or peer not in (ON_REDIS, REDIS, PUBSUB)]
        if redis:
            os.environ["REDIS_URL"] = redis
        subprocess.run([sys.executable, "-m", "django", "migrate", "--verbosity", "0"], check=True)
        chosen = plan(options.seconds)
        results, failures = run(
            {letter: chosen[letter] for letter in options.cases}, peers, options.rounds
        )
        consumers = run_consumers(options.rounds)
        memory = {}
        if options.messages:
            print(f"memory over {options.messages:,} messages …", end=" ", flush=True)
            memory = cases.memory(CHATIRE, messages=options.messages)
            print(", ".join(f"{name} {value:+.1f}" for name, value in memory.items()))
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}",
        "rounds": options.rounds,
        "cases": results,
        "consumer": {"title": "µs for one pushed frame and socket", "medians": consumers},
        "memory": {"title": "MB grown over the run", "messages": options.messages} | memory,
    }
    print_table(results)
    if not options.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "layer.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        from .picture import draw

        (RESULTS / "layer.svg").write_text(draw(results))
    if failures:
        print("\nThis layer failed:", *failures, sep="\n  ")
    return 1 if failures else 0


def run(
    chosen: dict[str, tuple[str, Callable[[str], cases.Figures]]], peers: list[str], rounds: int
) -> tuple[dict[str, Any], list[str]]:
    """Each case for each peer in turn, as often as asked; medians, ratios, and our failures."""
    runs: dict[str, Runs] = {letter: {} for letter in chosen}
    faults: dict[tuple[str, str], str] = {}
    failures: list[str] = []
    for round_ in range(rounds):
        for letter, (title, case) in chosen.items():
            for peer in peers:
                print(f"[{round_ + 1}/{rounds}] ({letter}) {title}: {peer} …", end=" ", flush=True)
                try:
                    figures = case(peer)
                except cases.Wrong as wrong:
                    print(f"WRONG: {wrong}")
                    faults[letter, peer] = str(wrong)
                    if peer == CHATIRE:
                        failures.append(f"({letter}) {wrong}")
                    continue
                print(", ".join(f"{name} {value:,.2f}" for name, value in figures.items()))
                for name, value in figures.items():
                    runs[letter].setdefault(name, {}).setdefault(peer, []).append(value)
    results: dict[str, Any] = {}
    for letter, (title, _) in chosen.items():
        measures: dict[str, Any] = {}
        for name, by_peer in runs[letter].items():
            medians = {peer: statistics.median(values) for peer, values in by_peer.items()}
            ours = medians.get(CHATIRE)
            ratios = {
                # Above 1 is always in our favour.
                peer: ours / theirs if "second" in name else theirs / ours
                for peer, theirs in medians.items()
                if ours and peer != CHATIRE
            }
            measures[name] = {"medians": medians, "ratios": ratios}
        results[letter] = {
            "title": title,
            "measures": measures,
            "faults": {peer: fault for (of, peer), fault in faults.items() if of == letter},
        }
    return results, failures


def run_consumers(rounds: int) -> dict[str, float]:
    """Medians in µs, by kind of consumer."""
    runs: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind in CONSUMERS:
            runs.setdefault(kind, []).append(cases.consumer(kind)["µs"])
    medians = {kind: round(statistics.median(values), 1) for kind, values in runs.items()}
    print("consumer, µs for one pushed frame and socket:", medians)
    return medians


def print_table(results: dict[str, Any]) -> None:
    """Medians, and in brackets how many times better ours is."""
    print()
    for letter, case in results.items():
        print(f"({letter}) {case['title']}")
        for name, measure in case["measures"].items():
            for peer, median in measure["medians"].items():
                ratio = measure["ratios"].get(peer)
                print(
                    f"    {peer:24} {name:>10} {median:12,.2f}"
                    + (f"   ours is {ratio:.2f} × better" if ratio else "")
                )
        for peer, fault in case["faults"].items():
            print(f"    {peer:24} wrong: {fault}")


if __name__ == "__main__":
    sys.exit(main())
