"""What one core carries: the processor time that each process takes for one of everything.

    make bench-capacity

Time is counted by the operating system for each process and its children, so that other work on the
machine lengthens the run and hardly the figures. Nothing is asserted. `docs/scaling.md` reckons
with what this prints.
"""

import gc
import time
from collections.abc import Callable

import psutil

from bench.fanout import HELLO, ROOT, SUBSCRIBED, WARM, Subject, running
from chatire.stack.environment import state_folder

SOCKETS, MESSAGES, REQUESTS = 1000, 200, 500


class Meter:
    """The processor time of a running stack's parts, in seconds."""

    def __init__(self, subject: Subject) -> None:
        stack = subject.stack
        folder = str(state_folder())
        self._parts = {
            "web": [psutil.Process(stack["web"].pid)],
            "ws": [psutil.Process(stack["ws"].pid)],
            "PostgreSQL": [
                one
                for one in psutil.process_iter(["name", "cmdline"])
                if one.info["name"] == "postgres"
                and any(folder in part for part in one.info["cmdline"] or [])
            ],
        }

    def read(self) -> dict[str, float]:
        """So far, by part."""
        return {name: sum(map(_with_children, roots)) for name, roots in self._parts.items()}

    def per_one(self, count: int, work: Callable[[], object]) -> dict[str, float]:
        """Do `work`, which is `count` of something; milliseconds of each part for one."""
        before = self.read()
        work()
        after = self.read()
        return {name: 1000 * (after[name] - before[name]) / count for name in after}


def _with_children(process: psutil.Process) -> float:
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        times = one.cpu_times()
        total += times.user + times.system
    # Of children that have ended, too: each connection is a process of PostgreSQL's.
    ended = process.cpu_times()
    return total + ended.children_user + ended.children_system


def measure(subject: Subject) -> dict[str, dict[str, float]]:
    """Everything once, after a warm-up."""
    meter = Meter(subject)
    found = {}
    with subject.open(WARM, "/ws/", HELLO):
        pass
    subject.until_closed()
    with subject.client() as http:
        room = f"/api/conversations/{subject.room}/"
        for _ in range(50):
            subject.say_alone(http)
        found["a message in a small room"] = meter.per_one(
            REQUESTS, lambda: [subject.say_alone(http) for _ in range(REQUESTS)]
        )
        first = http.get("/api/me/changes/").json()
        known = {"since": first["seq"], "at": first["at"]}
        found["an application begins"] = meter.per_one(
            REQUESTS, lambda: [http.get("/api/me/changes/") for _ in range(REQUESTS)]
        )
        found["nothing moved"] = meter.per_one(
            REQUESTS, lambda: [http.get("/api/me/changes/", params=known) for _ in range(REQUESTS)]
        )
        seq = http.get(room).json()["seq"]
    opened = []

    def come() -> None:
        opened.append(subject.open(SOCKETS, "/ws/", HELLO))
        opened[-1].__enter__()

    found["a socket opens"] = meter.per_one(SOCKETS, come)
    began = meter.read()
    time.sleep(20)
    idle = meter.read()
    found["a socket idles a minute"] = {
        name: 1000 * 3 * (idle[name] - began[name]) / SOCKETS for name in idle
    }
    opened.pop().__exit__(None, None, None)
    subject.until_closed()
    path = f"/ws/conversations/{subject.room}/"

    def come_back() -> None:
        opened.append(subject.open(SOCKETS, f"{path}?since={seq}", SUBSCRIBED))
        opened[-1].__enter__()

    found["a socket comes back to a conversation"] = meter.per_one(SOCKETS, come_back)
    sockets = subject.sockets
    assert sockets is not None
    for _ in range(10):
        subject.say(sockets)
    found[f"a message to {SOCKETS} sockets"] = meter.per_one(
        MESSAGES, lambda: [subject.say(sockets) for _ in range(MESSAGES)]
    )
    opened.pop().__exit__(None, None, None)
    subject.until_closed()
    return found


def main() -> None:
    """Measure, print the table."""
    gc.freeze()
    with running([ROOT]) as start:
        subject = start(ROOT)
        found = measure(subject)
        subject.stack.stop()
    parts = list(next(iter(found.values())))
    print(f"| ms of a core for one | {' | '.join(parts)} |")
    print("| --- |" + " ---: |" * len(parts))
    for what, values in found.items():
        print(f"| {what} | {' | '.join(f'{values[part]:.3f}' for part in parts)} |")


if __name__ == "__main__":
    main()
