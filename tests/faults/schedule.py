"""The faults, in an order that a seed decides, and how long everyone takes to be whole again."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from chatire.stack.postgres import EmbeddedPostgres
from tests.acceptance.stack import Stack
from tests.fakes.redis_server import RedisServer
from tests.faults.device import Refused
from tests.faults.ledger import Ledger
from tests.faults.room import Room
from tests.faults.session import SignedOut, Unreachable

RECOVERY_DEADLINE = 60.0  # seconds
SPARE = 0.1  # seconds in which what was under way before a fault may still arrive

Fault = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Injected:
    """One fault: when it struck, how long the process or database was down, until all was well."""

    kind: str
    at: float  # seconds since the start of the run
    down: float
    recovered: float


class Schedule:
    """Strikes one fault after another; each kind once before any comes again."""

    def __init__(
        self,
        stack: Stack,
        postgres: EmbeddedPostgres,
        rooms: list[Room],
        ledger: Ledger,
        source: random.Random,
        redis: RedisServer | None = None,
        only: Sequence[str] = (),
    ) -> None:
        self._stack = stack
        self._postgres = postgres
        self._redis = redis
        self._rooms = rooms
        self._ledger = ledger
        self._source = source
        self._workers = [name for name in stack.processes if name.startswith("worker")]
        self.injected: list[Injected] = []
        self.faults: dict[str, Fault] = {
            "web SIGKILL": lambda: self._kill("web"),
            "web SIGTERM": lambda: self._terminate("web"),
            "ws SIGKILL": lambda: self._kill("ws"),
            "ws SIGTERM": lambda: self._terminate("ws"),
            "worker SIGKILL": lambda: self._kill(source.choice(self._workers)),
            "worker SIGTERM": lambda: self._terminate(source.choice(self._workers)),
            "worker frozen": self._freeze,
            "Postgres restart, fast": lambda: self._restart_postgres(signal.SIGINT),
            "Postgres restart, immediate": lambda: self._restart_postgres(signal.SIGQUIT),
            "LISTEN terminated": lambda: self._cut("AND application_name LIKE '%listen%'"),
            "all connections terminated": lambda: self._cut(""),
        }
        if redis is not None:
            del self.faults["LISTEN terminated"]
            self.faults |= {
                "Redis killed": self._kill_redis,
                "Redis frozen": self._freeze_redis,
                "Redis connections cut": self._cut_redis,
            }
        if only:
            self.faults = {
                kind: fault
                for kind, fault in self.faults.items()
                if any(part in kind for part in only)
            }

    async def run(self, until: float) -> None:
        """Strike until the time is up, and each kind at least once."""
        began = time.monotonic()
        waiting: list[str] = []
        while True:
            await asyncio.sleep(self._source.uniform(0.5, 2.5))
            struck = {one.kind for one in self.injected}
            if time.monotonic() >= until and struck == self.faults.keys():
                return
            if not waiting:
                waiting = list(self.faults)
                self._source.shuffle(waiting)
            kind = waiting.pop()
            await self._strike(kind, began)

    async def _strike(self, kind: str, began: float) -> None:
        watched = [
            (device, room.watched(device))
            for room in self._rooms
            for device in room.devices
            if not device.away
        ]
        print(f"{time.monotonic() - began:7.1f} s  {kind}", flush=True)
        struck_at = time.monotonic()
        self._down_until = struck_at
        self._ledger.calm = False
        over = asyncio.create_task(self.faults[kind]())
        try:
            await asyncio.sleep(SPARE)
            since = time.monotonic()
            waiting = {
                device: set(replies) if not device.away else set() for device, replies in watched
            }
            while time.monotonic() - struck_at < RECOVERY_DEADLINE:
                for device in list(waiting):
                    waiting[device] = {
                        reply
                        for reply in waiting[device]
                        if device.progress.get(reply, 0.0) < since and not device.ended(reply)
                    }
                    if device.away or (device.settled and not waiting[device] and over.done()):
                        del waiting[device]
                if not waiting and await self._answers():
                    break
                await asyncio.sleep(0.02)
            else:
                names = ", ".join(device.name for device in waiting)
                self._ledger.violate("lost", f"after {kind} never caught up: {names}")
        finally:
            await over
            self._ledger.calm = True
        recovered = time.monotonic() - struck_at
        self.injected.append(
            Injected(kind, struck_at - began, self._down_until - struck_at, recovered)
        )

    async def _answers(self) -> bool:
        """Whether web answers what a client asks."""
        room = self._rooms[0]
        try:
            await room.people[0].try_once("GET", f"/api/conversations/{room.id}/")
        except (Unreachable, Refused, SignedOut):
            return False
        return True

    # --- The faults --------------------------------------------------------------------------

    async def _kill(self, name: str) -> None:
        await asyncio.to_thread(self._stack[name].kill)
        await self._back(name)

    async def _terminate(self, name: str) -> None:
        await asyncio.to_thread(self._stack[name].stop)
        await self._back(name)

    async def _back(self, name: str) -> None:
        await asyncio.sleep(self._source.uniform(0.1, 1.0))
        await asyncio.to_thread(self._stack.restart, name)
        self._down_until = time.monotonic()

    async def _freeze(self) -> None:
        """Stop a worker for so long that another takes its replies over; then it goes on."""
        process = self._stack[self._source.choice(self._workers)]
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(self._source.uniform(8.0, 11.0))
        process.signal(signal.SIGCONT)
        self._down_until = time.monotonic()

    async def _restart_postgres(self, number: signal.Signals) -> None:
        server = self._postgres.process
        assert server is not None
        server.signal(number)
        if not await asyncio.to_thread(server.wait, 30.0):
            raise AssertionError("Postgres did not stop")
        first = not any(one.kind.startswith("Postgres") for one in self.injected)
        await asyncio.sleep(self._source.uniform(0.5, 2.0) if first else 10.0)
        await asyncio.to_thread(self._postgres.restart)
        self._down_until = time.monotonic()

    async def _kill_redis(self) -> None:
        assert self._redis is not None
        await asyncio.to_thread(self._redis.kill)
        await asyncio.sleep(self._source.uniform(0.1, 3.0))
        await asyncio.to_thread(self._redis.start)
        self._down_until = time.monotonic()

    async def _freeze_redis(self) -> None:
        """Let it answer nobody, for shorter or longer than it takes to be noticed."""
        assert self._redis is not None
        self._redis.freeze()
        await asyncio.sleep(self._source.uniform(1.0, 12.0))
        self._redis.thaw()
        self._down_until = time.monotonic()

    async def _cut_redis(self) -> None:
        """Cut subscribers and publishers; Redis itself stays."""
        assert self._redis is not None
        for kind in ("pubsub", "normal"):
            await asyncio.to_thread(self._redis.ask, "CLIENT", "KILL", "TYPE", kind)

    async def _cut(self, which: str) -> None:
        await asyncio.to_thread(terminate, self._postgres.url, which)


def terminate(url: str, which: str) -> int:
    """Cut the connections to the database that the condition names; return how many."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE datname = current_database() AND pid <> pg_backend_pid() {which}"
        ).fetchone()
    assert row is not None
    return int(row[0])
