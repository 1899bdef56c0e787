"""What a worker costs its database while replies stream, by how many there are and how fast.

    python -m bench.costs

One worker of the Procfile's, on a PostgreSQL of its own with durable commits; the fake model is a
process of its own. Read from the worker's own metrics over ten seconds in which nothing begins or
ends. Nothing is asserted; tests/chat/replies/test_costs.py does that.
"""

import asyncio
import re
import time
import urllib.request
from collections import Counter

import psutil

from tests.acceptance.client import person
from tests.acceptance.stack import Process, Stack
from tests.fakes.script import directive
from tests.faults.latency import measured_stack

CASES = [(1, 50), (1, 500), (20, 50), (100, 10), (100, 50), (200, 20)]  # replies, tokens/s of each
WINDOW = 10.0  # seconds
SPARE = 14.0  # seconds for all of them to begin, and to be still there at the window's end
STREAMING = ("flush", "check", "publish")
CLOCK = ("queue", "other")
OWNERS = ("threads", "flusher", "queue")


class Metrics(Counter[str]):
    """What the worker says, as `name{labels}`."""

    @classmethod
    def of(cls, worker: Process) -> "Metrics":
        """Read them."""
        url = worker.health.replace("/health/", "/metrics")
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = re.findall(r"^(\S+) (\S+)$", answer.read().decode(), re.MULTILINE)
        return cls({name: float(value) for name, value in found})

    def statements(self, *kinds: str) -> float:
        """Those of these kinds."""
        return sum(self[f'chatire_database_statements_total{{kind="{kind}"}}'] for kind in kinds)


async def until_active(worker: Process, replies: int) -> None:
    """Return when it writes so many replies. Raises TimeoutError."""
    deadline = time.monotonic() + SPARE
    while Metrics.of(worker)["chatire_replies_active"] != replies:
        if time.monotonic() > deadline:
            raise TimeoutError(f"never {replies} replies at once")
        await asyncio.sleep(0.2)


async def measure(stack: Stack, replies: int, rate: int) -> str:
    """Let replies stream, and return the row of the table."""
    worker = stack["worker"]
    tokens = int(rate * (WINDOW + SPARE))
    async with person(stack) as guest:
        chats = [await guest.open_chat(title="Costs") for _ in range(replies)]
        for number, chat in enumerate(chats, 1):
            wanted = directive(tokens=tokens, rate=rate, seed=number)
            await guest.say(chat, f"Go {wanted}")
        await until_active(worker, replies)
        process = psutil.Process(worker.pid)
        before, began, cpu = Metrics.of(worker), time.monotonic(), process.cpu_times()
        busy: list[float] = []
        while time.monotonic() - began < WINDOW:
            await asyncio.sleep(0.5)
            now = Metrics.of(worker)
            busy.append(
                sum(now[f'chatire_database_connections_busy{{owner="{one}"}}'] for one in OWNERS)
            )
        after, took, used = Metrics.of(worker), time.monotonic() - began, process.cpu_times()
        assert after["chatire_replies_active"] == replies
        # Nobody reads what is left of them.
        for chat in chats:
            await guest.http.delete(f"/api/conversations/{chat}/")
        await until_active(worker, 0)
    grown = Metrics({name: after[name] - before[name] for name in after})
    said = grown["chatire_reply_chunk_bytes_total"]
    open_now = sum(after[f'chatire_database_connections{{owner="{one}"}}'] for one in OWNERS)
    cells = [
        f"{replies} × {rate}",
        f"{grown['chatire_reply_pieces_total'] / took:.0f}",
        f"{grown.statements(*STREAMING) / took:.1f}",
        f"{grown.statements(*CLOCK) / took:.1f}",
        f"{said / grown['chatire_reply_pieces_total']:.1f}",
        f"{grown['chatire_reply_delta_bytes_total'] / grown['chatire_reply_deltas_total']:.0f}",
        f"{said / grown['chatire_reply_deltas_total']:.0f}",
        f"{open_now:.0f}",
        f"{sum(busy) / len(busy):.1f}",
        f"{100 * (used.user + used.system - cpu.user - cpu.system) / took:.0f} %",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, print the table."""
    with measured_stack("costs", CHATIRE_MAX_REPLY_TOKENS="20000") as (stack, _):
        print(
            "| replies × tokens/s | tokens/s | statements/s for them | by the clock"
            " | bytes stored per token | bytes of a frame | of them text"
            " | connections | in use | of a core |"
        )
        print("| --- |" + " ---: |" * 9)
        for replies, rate in CASES:
            print(asyncio.run(measure(stack, replies, rate)), flush=True)


if __name__ == "__main__":
    main()
