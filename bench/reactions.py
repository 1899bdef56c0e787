"""Ten thousand reactions to one message, and whether one can still write in the room meanwhile.

    make bench-reactions ARGS="[--people 10000] [--seconds 10]"

`web` and `ws` as the Procfile starts them. The reactions are made by two processes through
`chat.services.reactions`, as `web` and `ws` make them, at an even pace. Messages are posted to the
same room all the time, before and meanwhile. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from bench.fanout import ROOT, Subject, running
from tests.faults.report import percentile

PROCESSES, THREADS = 2, 4
QUIET = 100  # messages before
PAUSE = 0.05  # seconds between messages
COUNTING = 2.0  # seconds after which everything is counted


def main() -> None:
    """Make the people, measure, print."""
    parser = argparse.ArgumentParser(prog="make bench-reactions")
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with running([ROOT]) as start:
        subject = start(ROOT)
        made = json.loads(_run(subject, "people", str(arguments.people)).communicate()[0])
        print(report(subject, made, arguments.seconds))
        subject.stack.stop()


def report(subject: Subject, made: dict[str, Any], seconds: float) -> str:
    """Measure, and put it in words."""
    path = f"/api/conversations/{made['room']}/"
    with subject.client() as http:
        http.headers["Authorization"] = f"Bearer {made['token']}"

        def say() -> float:
            time.sleep(PAUSE)
            began = time.perf_counter()
            body = {"client_id": str(time.monotonic_ns()), "content": "Still here?"}
            http.post(path + "messages/", json=body).raise_for_status()
            return 1000 * (time.perf_counter() - began)

        said = http.post(path + "messages/", json={"client_id": "it", "content": "We won!"})
        message = said.raise_for_status().json()["message"]["id"]
        quiet = [say() for _ in range(QUIET)]
        before = http.get(path).json()["seq"]
        reacting = [
            _run(subject, "react", message, json.dumps(part), str(seconds))
            for part in (made["people"][n::PROCESSES] for n in range(PROCESSES))
        ]
        began, busy = time.monotonic(), []
        while any(one.poll() is None for one in reacting):
            busy.append(say())
        took = time.monotonic() - began - COUNTING
        changes = http.get(path).json()["seq"] - before - len(busy)
        first = http.get(path + "messages/", params={"after": 0, "limit": 1}).json()
        counted = first["tallies"][0]["reactions"]
    assert all(one.returncode == 0 for one in reacting)
    return (
        f"{sum(kind['count'] for kind in counted)} reactions in {took:.1f} s:"
        f" {changes} changes of the conversation\n"
        f"POST, ms: quiet p50 {median(quiet):.1f}, p99 {percentile(quiet, 0.99):.1f};"
        f" meanwhile p50 {median(busy):.1f}, p99 {percentile(busy, 0.99):.1f}"
        f" ({len(busy)} messages)"
    )


def _run(subject: Subject, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.reactions", *arguments],
        cwd=ROOT,
        env={**subject.stack.env, "DJANGO_SETTINGS_MODULE": "chatire.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )


def people(count: str) -> None:
    """Open a room of so many; print it, its owner's token and everyone."""
    from bench.edge.people import room
    from chat.models import Member

    made = room("Party", int(count), silent=True)
    everyone = Member.objects.filter(conversation=made["id"]).values_list("user_id", flat=True)
    found = {"room": made["id"], "token": made["tokens"][0], "people": list(map(str, everyone))}
    print(json.dumps(found))


def react(message: str, who: str, seconds: str) -> None:
    """Let each of these people react once, spread over the time."""
    from uuid import UUID

    from accounts.models import User
    from chat.services.reactions import react as give

    reacting = list(User.objects.in_bulk(json.loads(who)).values())
    began, pace = time.monotonic(), float(seconds) / len(reacting)

    def one(place: int) -> None:
        time.sleep(max(0.0, began + place * pace - time.monotonic()))
        emoji = ("🎉", "👍", "😂")[place % 3]
        give(user=reacting[place], message_id=UUID(message), emoji=emoji, on=True)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in pool.map(one, range(len(reacting))):
            assert done is None
    # This process counts what it took; of one that dies the worker does, which is not there.
    time.sleep(COUNTING)


if __name__ == "__main__":
    modes = {"people": people, "react": react}
    if len(sys.argv) > 1 and sys.argv[1] in modes:
        import django

        django.setup()
        modes[sys.argv[1]](*sys.argv[2:])
    else:
        main()
