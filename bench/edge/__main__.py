"""Compare the edges: python -m bench.edge [--rounds N] [--systems ...] [--cases ...] [--quick]"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import psycopg

from bench.layer.servers import redis
from chatire.stack.account import home_folder, remove_home, server_account
from chatire.stack.environment import state_folder
from chatire.stack.postgres import EmbeddedPostgres
from tests.acceptance.stack import Database

from . import cases
from .cases import Figures, Length
from .dialects import Wrong
from .picture import draw
from .server_log import ServerLog
from .systems import (
    CHATIRE,
    CHATIRE_REDIS,
    CHATIRE_SEVERAL,
    NAMES,
    NCHAN,
    SOCKETIO,
    Chatire,
    Nchan,
    Plan,
    Several,
    SocketIO,
    System,
    find_nchan,
    find_node,
)

RESULTS = Path(__file__).parents[1] / "results"
CASES = ("fanout", "idle", "post")
STORMS = (CHATIRE, CHATIRE_REDIS, SOCKETIO)
CASE_SECONDS = 240.0  # that one case of one system may take
CLOSING = 0.1  # of the time, kept to stop everything
SPARE_FILES = 500
PREFIX = "edge-"  # of folders, before the process id
# What a system may do to a case; none of it ends the run.
FAULTS = (Wrong, AssertionError, OSError, LookupError, ValueError)

Measure = Callable[[float], Iterator[Figures]]

WHOLE = Plan(sockets=1000, idle=5000, in_each=10, crowd=10_000), Length(50, 10.0, 150, 20)
QUICK = Plan(sockets=200, idle=500, in_each=10, crowd=10_000), Length(10, 3.0, 20, 5)


class TimeUp(Exception):
    """The run has had its time."""


class Run:
    """One run: what was found, and what could not be."""

    def __init__(self, plan: Plan, length: Length, rounds: int, seconds: float) -> None:
        self.plan = plan
        self.length = length
        self.rounds = rounds
        self.ends = time.monotonic() + seconds * (1 - CLOSING)
        self.values: dict[str, dict[str, list[float]]] = {}
        self.faults: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self._took: dict[tuple[str, str], float] = {}

    def case(self, name: str, system: System, measure: Measure) -> None:
        """Measure and keep the figures, or why there are none."""
        now = time.monotonic()
        key = name, system.name
        if now + self._took.get(key, 0.0) > self.ends:
            print(f"    {name}: {system.name}: no time left")
            return
        print(f"    {name}: {system.name} …", end=" ", flush=True)
        system.settle()
        gc.collect()
        try:
            for figures in measure(min(self.ends, time.monotonic() + CASE_SECONDS)):
                for figure, value in figures.items():
                    print(f"{figure} {value:,.1f}", end=", ", flush=True)
                    self._keep(figure, system.name, value)
            print()
        except FAULTS as error:
            self.fault(system.name, f"{name}: {type(error).__name__}: {error}")
        finally:
            self._took[key] = time.monotonic() - now

    def _keep(self, figure: str, name: str, value: float) -> None:
        if figure.startswith("room."):  # compares rooms, not systems
            figure, _, name = figure.rpartition(".")
        self.values.setdefault(figure, {}).setdefault(name, []).append(value)

    def fault(self, system: str, words: str) -> None:
        """Keep what went wrong first."""
        print(f"WRONG: {words}", flush=True)
        self.faults.setdefault(system, words[:500])

    def medians(self) -> dict[str, dict[str, dict[str, float]]]:
        """By case, figure and system."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for what, by_name in self.values.items():
            case, _, figure = what.partition(".")
            found.setdefault(case, {})[figure] = {
                name: round(median(values), 2) for name, values in by_name.items()
            }
        return found


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="make bench-edge")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--minutes", type=float, default=25.0, help="that all of it may take")
    parser.add_argument("--quick", action="store_true", help="few of everything, once; no results")
    parser.add_argument("--dry", action="store_true", help="do not write the results")
    options = parser.parse_args()
    plan, length = QUICK if options.quick else WHOLE
    rounds, minutes = (
        (1, min(3.0, options.minutes))
        if options.quick
        else (
            options.rounds,
            options.minutes,
        )
    )
    _allow_files(plan.idle + SPARE_FILES)
    load = os.getloadavg()
    print(f"Load of the machine before: {load[0]:.1f}, {load[1]:.1f}; cores: {os.cpu_count()}")
    run = Run(plan, length, rounds, 60 * minutes)
    versions: dict[str, str] = {}
    _end_by_exception(60 * minutes * (1 - CLOSING / 2))
    gc.disable()
    try:
        measure(run, options.systems, options.cases, versions)
    except TimeUp:
        print("\nThe time is up; what follows is of what was measured.")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    results = run.medians()
    print_table(results)
    for name, words in (run.skipped | run.faults).items():
        print(f"{name}: {words}")
    whole = set(options.cases) == set(CASES) and set(options.systems) == set(NAMES)
    if whole and not (options.dry or options.quick):
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_before": [round(one, 2) for one in load[:2]],
            "versions": versions,
            # Of which the last may have been cut short by the time.
            "rounds": max(len(one) for by_name in run.values.values() for one in by_name.values()),
            "sockets": {"fanout": plan.sockets, "idle": plan.idle, "rooms": plan.rooms},
            **results,
            "faults": run.faults,
            "skipped": run.skipped,
        }
        (RESULTS / "edge.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        (RESULTS / "edge.svg").write_text(draw(report))
    return 1 if CHATIRE in run.faults else 0


def measure(run: Run, names: list[str], chosen: list[str], versions: dict[str, str]) -> None:
    """Start what there is, and let all take turns."""
    log = ServerLog()
    with contextlib.ExitStack() as leaving:
        # Nothing that ends the run may end the cleaning up.
        leaving.callback(signal.setitimer, signal.ITIMER_REAL, 0)
        sweep()
        name = f"{PREFIX}{os.getpid()}"
        folder = state_folder() / f"{name}-files"
        folder.mkdir(parents=True)
        leaving.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = EmbeddedPostgres(state_folder(), name=name, on_line=log.add)
        leaving.callback(postgres.destroy)
        log.url = postgres.start()
        systems = list(prepare(run, names, log.url, folder, leaving))
        versions |= find_versions(log.url, systems)
        for round_ in range(run.rounds if systems else 0):
            print(f"[{round_ + 1}/{run.rounds}]", flush=True)
            # Nobody always comes first.
            first = round_ % len(systems)
            take_turns(run, systems[first:] + systems[:first], chosen, log)


def sweep() -> None:
    """Delete what runs left behind that were killed: their processes died with them."""
    databases = home_folder(state_folder(), PREFIX, server_account()).parent
    for left in {*databases.glob(f"{PREFIX}*"), *state_folder().glob(f"{PREFIX}*")}:
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            remove_home(left)


def take_turns(run: Run, systems: list[System], chosen: list[str], log: ServerLog) -> None:
    """One round: all of them run, and each case asks one after the other."""
    with contextlib.ExitStack() as leaving:
        running = []
        for system in systems:
            leaving.callback(system.stop)
            try:
                system.start()
            except FAULTS as error:
                run.fault(system.name, f"start: {error}")
                continue
            running.append(system)
        for name in chosen:
            for system in running:
                for case, measured in what_to_do(name, system, run.length, log).items():
                    run.case(case, system, measured)


def what_to_do(name: str, system: System, length: Length, log: ServerLog) -> dict[str, Measure]:
    """What a case means for a system, in order; each is given its deadline."""
    if name == "fanout":
        return {"fanout": partial(cases.fanout, system, length)}
    if name == "idle":
        return {"idle": partial(cases.idle, system, length, storm=system.name in STORMS)}
    if not isinstance(system, Chatire) or system.name != CHATIRE:
        return {}
    return {
        "post": partial(cases.post, system, length),
        # Last, for it stops what would add statements of its own.
        "statements": partial(cases.statements, system, length, log),
    }


def prepare(
    run: Run, names: list[str], server_url: str, folder: Path, leaving: contextlib.ExitStack
) -> Iterator[System]:
    """Those systems that this machine can run, in order, with their people."""
    ours = Database(server_url)
    if {CHATIRE, CHATIRE_REDIS, CHATIRE_SEVERAL} & set(names):
        print("people and rooms …", flush=True)
        ours.create()
        chatire = Chatire(CHATIRE, ours, folder / CHATIRE)
        chatire.world = chatire.prepare(run.plan)
        if CHATIRE in names:
            yield chatire
    if CHATIRE_REDIS in names:
        server = leaving.enter_context(redis())
        if server is None:
            run.skipped[CHATIRE_REDIS] = "this machine has no redis-server"
        else:
            theirs = Database(server_url)
            theirs.create(ours)
            other = Chatire(CHATIRE_REDIS, theirs, folder / CHATIRE_REDIS, server)
            other.world = chatire.world
            yield other
    if CHATIRE_SEVERAL in names:
        balancer = shutil.which("nginx")
        if balancer is None:
            run.skipped[CHATIRE_SEVERAL] = "this machine has no nginx"
        else:
            theirs = Database(server_url)
            theirs.create(ours)
            several = Several(balancer, theirs, folder / CHATIRE_SEVERAL)
            several.world = chatire.world
            yield several
    if SOCKETIO in names:
        node = find_node()
        if node is None:
            run.skipped[SOCKETIO] = "this machine has no Node.js, or its packages cannot be had"
        else:
            database = Database(server_url)
            database.create()
            yield SocketIO(node, database.url, run.plan)
    if NCHAN in names:
        nginx = find_nchan()
        if nginx is None:
            run.skipped[NCHAN] = "this machine has no nginx with nchan"
        else:
            yield Nchan(nginx, folder / NCHAN, run.plan)


def find_versions(server_url: str, systems: list[System]) -> dict[str, str]:
    """What was compared, and on what."""
    found = {
        "python": platform.python_version(),
        "uvicorn": importlib.metadata.version("uvicorn"),
        "gunicorn": importlib.metadata.version("gunicorn"),
    }
    with psycopg.connect(server_url) as connection:
        found["postgresql"] = connection.execute("SHOW server_version").fetchone()[0]  # type: ignore[index]
    names = {system.name for system in systems}
    if CHATIRE_REDIS in names:
        found["redis"] = _said("redis-server", "--version")
    if SOCKETIO in names:
        found["node"] = _said("node", "--version")
        lock = json.loads((Path(__file__).parent / "peers" / "package-lock.json").read_text())
        for name in lock["packages"][""]["dependencies"]:
            found[name] = lock["packages"][f"node_modules/{name}"]["version"]
    if NCHAN in names:
        found["nginx"] = _said("nginx", "-v")
        with contextlib.suppress(OSError):
            found["nchan"] = _said("dpkg-query", "-Wf", "${Version}", "libnginx-mod-nchan")
    return found


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def print_table(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """Medians, a row for each figure."""
    names = list(NAMES)
    print(f"\n{'medians':18}" + "".join(f"{name:>16}" for name in names))
    for case, figures in results.items():
        for figure, by_name in figures.items():
            if case == "room":
                cells = ", ".join(f"{name} {value:,.2f}" for name, value in by_name.items())
                print(f"{case}.{figure}: {cells}")
                continue
            cells = "".join(
                f"{by_name[name]:16,.1f}" if name in by_name else f"{'–':>16}" for name in names
            )
            print(f"{f'{case}.{figure}':18}{cells}")


def _allow_files(needed: int) -> None:
    """Let this process and its children open so many files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise SystemExit(f"{needed} open files are needed, and {most} are allowed (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end_by_exception(seconds: float) -> None:
    """Leave by exceptions, so that everything is stopped, when told to or when time is up."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    def time_up(*_: object) -> None:
        raise TimeUp

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    signal.signal(signal.SIGALRM, time_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    sys.exit(main())
