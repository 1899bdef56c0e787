"""What is measured of each system.

A case gives its figures as it has them, so that what fails later takes none away, and ends by its
deadline, one way or the other.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, median_low
from uuid import uuid4

from tests.faults.report import percentile

from .crowd import crowd
from .dialects import Client, Wrong
from .server_log import ServerLog
from .systems import Chatire, System

Figures = dict[str, float]

PAUSE = 0.1  # seconds between messages to a room that many hear
HEARD = 15.0  # seconds that a message may take
WARM = 5  # messages that do not count
AT_ONCE = 100  # sockets that open at a time
TALK_EVERY = 1.0  # seconds between messages to rooms that are idle
WARM_SOCKETS = 50


@dataclass(frozen=True)
class Length:
    """How long cases go on."""

    messages: int  # for each measurement of the fan-out
    idle_seconds: float
    posts: int  # to each room
    statements: int  # messages of which statements are counted


def fanout(system: System, length: Length, deadline: float) -> Iterator[Figures]:
    """Open the sockets of one room, and say something there ten times a second."""
    hall = system.world.hall
    clients = [Client(hall.id, token) for token in hall.tokens]
    heard: list[tuple[float, float]] = []
    _warm_up(system, clients, deadline)
    with system.rest() as rest, crowd(system.dialect, system.port, clients) as sockets:
        took = sockets.open(AT_ONCE, deadline)
        yield {"open.per_second": len(clients) / took, "open.sent_back": sockets.sent_back}
        due = time.monotonic() + 1.0
        for _ in range(WARM + length.messages):
            sockets.read_until(due)
            mark = uuid4().hex
            sent_at = rest.send(system.post(hall, mark))
            until = min(deadline, time.monotonic() + HEARD)
            heard.append(sockets.hear(mark.encode(), sent_at, until))
            rest.receive()
            due = max(due + PAUSE, time.monotonic())
    counted = heard[WARM:]
    yield {
        "fanout.first_ms": 1000 * median(first for first, _ in counted),
        "fanout.spread_ms": 1000 * median(last - first for first, last in counted),
        "fanout.last_ms": 1000 * median(last for _, last in counted),
    }


def idle(system: System, length: Length, deadline: float, *, storm: bool) -> Iterator[Figures]:
    """Weigh sockets in many small rooms; then let all of them come back after a kill."""
    system.renew()
    rooms = system.world.rooms
    clients = [Client(room.id, token) for room in rooms for token in room.tokens]
    _warm_up(system, clients, deadline)
    before = system.weight()
    with crowd(system.dialect, system.port, clients) as sockets:
        sockets.open(AT_ONCE, deadline)
        with _talk(system) as newest:
            sockets.read_until(min(deadline, time.monotonic() + length.idle_seconds))
            yield {"idle.kb": (system.weight() - before) / len(clients)}
            if storm:
                if isinstance(system, Chatire):
                    system.keep_lists()
                took, pings = sockets.storm(system.kill, deadline)
        sockets.until_known(newest, min(deadline, time.monotonic() + HEARD))
        # Those who came back count if they lack nothing.
        if storm:
            yield {
                "storm.whole_s": took,
                "storm.ping_p99_ms": 1000 * percentile(pings, 0.99),
            }


def post(system: Chatire, length: Length, deadline: float) -> Iterator[Figures]:
    """Say something in rooms of different sizes in turn, and time the answers."""
    took: dict[str, list[float]] = {size: [] for size in system.world.sizes}
    with system.rest() as rest:
        for number in range(WARM + length.posts):
            for size, room in system.world.sizes.items():
                sent_at = rest.send(system.post(room, uuid4().hex))
                rest.receive()
                if number >= WARM:
                    took[size].append(1000 * (time.perf_counter() - sent_at))
            if time.monotonic() > deadline:
                raise Wrong("there was no time for all messages")
    yield {f"room.post_p50_ms.{size}": median(values) for size, values in took.items()}


def statements(system: Chatire, length: Length, log: ServerLog, _: float) -> Iterator[Figures]:
    """Count the statements of a message by the server's log. Only `web` runs on afterwards."""
    system.stack["ws"].stop()
    system.stack["worker"].stop()
    with system.rest() as rest, log.statements() as so_far:
        for size, room in system.world.sizes.items():
            counts = []
            for _ in range(length.statements):
                so_far()
                rest.send(system.post(room, uuid4().hex))
                rest.receive()
                counts.append(len(so_far()))
            # Connections that are looked after add one now and then.
            yield {f"room.statements.{size}": median_low(counts)}


def _warm_up(system: System, clients: list[Client], deadline: float) -> None:
    """Open and close some: what the first sockets cost and allocate for good is no socket's."""
    warm = [Client(client.room, client.token) for client in clients[:WARM_SOCKETS]]
    with crowd(system.dialect, system.port, warm) as sockets:
        sockets.open(AT_ONCE, deadline)
    system.settle()


@contextlib.contextmanager
def _talk(system: System) -> Iterator[dict[str, int]]:
    """Say something in one room after another; give each room's newest number."""
    newest: dict[str, int] = {}
    failed: list[Exception] = []
    done = threading.Event()

    def talk() -> None:
        with system.rest() as rest:
            number = 0
            while not done.wait(TALK_EVERY):
                # Neighbours are not said something one after another.
                room = system.world.rooms[number * 7 % len(system.world.rooms)]
                rest.send(system.post(room, uuid4().hex))
                newest[room.id] = max(newest.get(room.id, 0), system.number(rest.receive()))
                number += 1

    def run() -> None:
        try:
            talk()
        except (Wrong, OSError) as error:
            failed.append(error)

    talking = threading.Thread(target=run, name="talk")
    talking.start()
    try:
        yield newest
    finally:
        done.set()
        talking.join()
    if failed:
        raise Wrong(f"a message was not taken: {failed[0]}")
