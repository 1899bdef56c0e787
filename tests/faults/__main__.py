"""The fault suite.

    python -m tests.faults [--minutes 1.5] [--seed N] [--rooms 20]

Real processes (web, ws, two workers), real sockets, a PostgreSQL of its own, and a model that
speaks 50 tokens a second, under faults in an order that the seed decides. At the end every client
and every stored row is compared with what the model said, to the byte. Exit status 0 only if all
of it agrees. The processes' logs are kept if it does not.
"""

import argparse
import asyncio
import contextlib
import math
import os
import random
import secrets
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chatire.stack.environment import state_folder
from chatire.stack.postgres import EmbeddedPostgres
from tests.acceptance.stack import Stack
from tests.fakes.openai_server import RunningServer, running_server
from tests.faults.ledger import KINDS, Ledger
from tests.faults.plans import IDLE_SECONDS
from tests.faults.reckoning import Reckoning, quiet
from tests.faults.room import LoudRoom, Person, Room, flap
from tests.faults.schedule import Schedule

RATE = 50.0  # tokens a second
SETTLE = 15.0  # seconds that talkers may take to end after their time
SHOWN_VIOLATIONS = 40
OF_CLIENTS = (
    "client flaps",
    "clients stop reading",
    "sends doubled",
    "sends repeated",
    "stops",
    "regenerates",
)


class Run:
    """One run of the suite."""

    def __init__(
        self, *, minutes: float, seed: int, rooms: int, logs: Path, postgres: EmbeddedPostgres
    ) -> None:
        self.minutes = minutes
        self.seed = seed
        self.rooms: list[Room] = []
        self.ledger = Ledger()
        self._count = rooms
        self._logs = logs
        self._postgres = postgres
        self.schedule: Schedule
        self.reckoning: Reckoning
        self.quiet_seconds = 0.0

    async def run(self, model: RunningServer) -> None:
        """Set up, break things, reckon."""
        task = asyncio.current_task()
        assert task is not None
        # Ended from outside, it ends its processes too.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        stack = Stack(
            database_url=self._postgres.url,
            model_url=model.base_url,
            logs=self._logs,
            workers=2,
            REPLY_TIMEOUT_IDLE=str(IDLE_SECONDS),
            WORKER_DRAIN_SECONDS="2",
            WS_DRAIN_SECONDS="1",
            ACCESS_TOKEN_SECONDS="86400",
        )
        await asyncio.to_thread(prepare, stack)
        try:
            await asyncio.to_thread(stack.start)
            await self._people(stack)
            await self._break(stack, model)
            self.quiet_seconds = await quiet(self.rooms, self.ledger, self._postgres.url)
            self.reckoning = Reckoning(self.ledger, model.records)
            for room in self.rooms:
                await self.reckoning.room(room)
            for room in self.rooms:
                for device in room.devices:
                    await device.stop()
        finally:
            await asyncio.to_thread(stack.__exit__, None, None, None)

    async def _people(self, stack: Stack) -> None:
        for number in range(self._count):
            kind = LoudRoom if number == 0 else Room
            people = [
                await Person.arrive(stack, self.ledger) for _ in range(3 if number % 5 == 0 else 1)
            ]
            source = random.Random(f"{self.seed} room {number}")
            self.rooms.append(kind(number, people, self.ledger, source))
        for room in self.rooms:
            await room.open(stack)
        devices = [device for room in self.rooms for device in room.devices]
        for device in devices:
            assert await device.until_settled(60), device.name

    async def _break(self, stack: Stack, model: RunningServer) -> None:
        source = random.Random(f"{self.seed} schedule")
        self.schedule = Schedule(stack, self._postgres, self.rooms, self.ledger, source)
        until = time.monotonic() + self.minutes * 60
        over = asyncio.Event()
        talkers = [asyncio.create_task(room.talk(over)) for room in self.rooms]
        flappers = [
            asyncio.create_task(
                flap(
                    room, room.devices[-1], self.ledger, random.Random(f"{self.seed} flap {number}")
                )
            )
            for number, room in enumerate(self.rooms[1:])
            if number % 5 == 3
        ]
        sweeper = asyncio.create_task(_forget_prompts(model))
        try:
            await self.schedule.run(until)
            over.set()
            await asyncio.wait(talkers, timeout=SETTLE)
        finally:
            for task in (*flappers, sweeper):
                task.cancel()
            await asyncio.gather(*flappers, sweeper, return_exceptions=True)
        async with asyncio.timeout(120):
            for failure in await asyncio.gather(*talkers, return_exceptions=True):
                if isinstance(failure, BaseException):
                    raise failure


async def _forget_prompts(model: RunningServer) -> None:
    """Keep of each request only its last message: histories would fill the memory."""
    while True:
        await asyncio.sleep(5)
        for record in model.records:
            if record.end and len(record.body.get("messages", ())) > 1:
                record.body["messages"] = record.body["messages"][-1:]


def prepare(stack: Stack) -> None:
    """Make the schema and an assistant."""
    stack.manage("migrate", "--noinput", "-v0")
    stack.manage(
        "shell",
        "-v0",
        "-c",
        "from chat.models import Assistant\n"
        "Assistant.objects.create(slug='assistant', name='Assistant')",
    )


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1] if ordered else 0.0


def report(run: Run) -> str:
    """The table that goes into docs/reliability.md."""
    ledger, reckoning = run.ledger, run.reckoning
    lines = ["", "| fault | times | back after (median) | everyone whole after: median, most |"]
    lines.append("| --- | ---: | ---: | ---: |")
    injected = run.schedule.injected
    for kind in run.schedule.faults:
        mine = [one for one in injected if one.kind == kind]
        if mine:
            down = statistics.median(one.down for one in mine)
            whole = [one.recovered for one in mine]
            lines.append(
                f"| {kind} | {len(mine)} | {down:.1f} s |"
                f" {statistics.median(whole):.1f} s, {max(whole):.1f} s |"
            )
    lines += [f"| {name} | {ledger.counts[name]} | | |" for name in OF_CLIENTS]
    struck = Counter(
        fault.partition(":")[0] for room in run.rooms for fault in room.model_faults(ledger)
    )
    lines += [f"| model: {name} | {number} | | |" for name, number in sorted(struck.items())]
    whole = [one.recovered for one in injected]
    own = [max(0.0, one.recovered - one.down) for one in injected]
    violations = Counter(kind for kind, _ in ledger.violations)
    recover, after = (
        f"{percentile(seconds, 0.5):.1f} s / {percentile(seconds, 0.99):.1f} s"
        for seconds in (whole, own)
    )
    clients = sum(len(room.devices) for room in run.rooms)
    ends = ", ".join(f"{number} {status}" for status, number in sorted(reckoning.ends.items()))
    lines += [
        "",
        "| | |",
        "| --- | ---: |",
        f"| seed, minutes | {run.seed}, {run.minutes:g} |",
        f"| conversations, clients | {len(run.rooms)}, {clients} |",
        f"| faults injected | {len(injected)} + {ledger.counts['client flaps']} flaps |",
        f"| messages sent | {len(ledger.sent)} |",
        f"| replies | {reckoning.replies} ({ends}) |",
        f"| attempts | {reckoning.runs} |",
        f"| tokens | {reckoning.tokens} |",
        *(f"| {kind} | {violations[kind]} |" for kind in KINDS),
        f"| time to recover, p50 / p99 | {recover} |",
        f"| of it after the process was back, p50 / p99 | {after} |",
        f"| quiet after the last | {run.quiet_seconds:.1f} s |",
    ]
    closes = {name: n for name, n in sorted(ledger.counts.items()) if name.startswith("closed")}
    others = ("resync frames", "reconnect frames", "gaps asked for", "merged deltas")
    counted = {**closes, **{name: ledger.counts[name] for name in others}}
    counted |= {name: n for name, n in sorted(ledger.counts.items()) if name.startswith("answers")}
    lines.append("")
    lines.append("Seen by clients: " + ", ".join(f"{name}: {n}" for name, n in counted.items()))
    return "\n".join(lines)


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=1.4, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rooms", type=int, default=20, help="conversations at once")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    print(f"SEED={seed}", flush=True)
    name = f"faults-{os.getpid()}"
    logs = state_folder() / f"{name}-logs"
    logs.mkdir(parents=True)
    postgres = EmbeddedPostgres(state_folder(), name=name, on_line=_appender(logs / "postgres.log"))
    with contextlib.ExitStack() as leaving:
        leaving.callback(postgres.destroy)
        postgres.start()
        model = leaving.enter_context(running_server(rate=RATE))
        run = Run(
            minutes=arguments.minutes,
            seed=seed,
            rooms=arguments.rooms,
            logs=logs,
            postgres=postgres,
        )
        asyncio.run(run.run(model))
    print(report(run))
    failed = run.ledger.violations
    for kind, what in failed[:SHOWN_VIOLATIONS]:
        print(f"FAILED {kind}: {what}")
    if failed:
        print(f"SEED={seed}; the logs are in {logs}")
    else:
        shutil.rmtree(logs)
    print(f"{run.ledger.passed} passed, {len(failed)} failed")
    return 1 if failed else 0


def _appender(path: Path) -> Callable[[str], None]:
    def append(line: str) -> None:
        with path.open("a") as log:
            log.write(f"{time.time():.3f} {line}\n")

    return append


if __name__ == "__main__":
    sys.exit(main())
