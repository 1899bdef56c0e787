"""How long a stop takes to reach the model's connection.

    python -m bench.stops [--stops 100] [--replies 100]

From the moment a client sends the stop, by socket and by REST in turn, to the moment the model's
server sees its connection closed; once while nothing else streams, once while `--replies` do. The
Procfile's processes with one worker, on a PostgreSQL of their own with durable commits; the model
and the clients that load the stack are processes of their own. Nothing is asserted.
"""

import argparse
import asyncio
import itertools
import time

from tests.acceptance.client import Device, Person, person
from tests.acceptance.stack import Stack
from tests.fakes.script import directive
from tests.faults.latency import REPLY_SECONDS, line, measured_stack, records_of, streaming

AT_ONCE = 4  # people who stop replies while others stream
_numbers = itertools.count(1)


async def stop_one(guest: Person, device: Device, *, rest: bool) -> tuple[str, float]:
    """Let a reply begin and stop it; return its id in the model's records, and when it was sent."""
    chat = await guest.open_chat(title="Stops")
    room = await device.follow(chat)
    key = f"stop{next(_numbers)}"
    sent = await guest.say(chat, f"On and on {directive(tokens=3000, seed=1, id=key)}")
    reply = sent["reply"]["id"]
    await device.until(lambda: room.replies[reply].deltas >= 3)
    sent_at = time.monotonic()
    if rest:
        answer = await guest.http.post(f"/api/messages/{reply}/stop/")
        answer.raise_for_status()
    else:
        await device.command("reply.stop", message=reply)
    done = await device.finished(chat, reply)
    assert done.status == "cancelled"
    assert done.final == done.text
    await device.command("unsubscribe", conversation=chat)
    return key, sent_at


async def stops(stack: Stack, model: str, times: int, until: float | None = None) -> list[float]:
    """Stop replies one after another; return how long each stop took, in ms."""
    sent: dict[str, float] = {}
    async with person(stack) as guest, guest.device() as device:
        for number in range(times):
            if until is not None and time.monotonic() > until:
                break
            key, at = await stop_one(guest, device, rest=number % 2 == 0)
            sent[key] = at
    records = await asyncio.to_thread(records_of, model)
    for key in sent:
        assert records[key]["end"] == "disconnected", records[key]["end"]
    return [1000 * (records[key]["ended_at"] - at) for key, at in sent.items()]


async def stops_at_once(stack: Stack, model: str, times: int, until: float) -> list[float]:
    """As `stops`, by several people at once."""
    found = await asyncio.gather(*(stops(stack, model, times, until) for _ in range(AT_ONCE)))
    return [taken for one in found for taken in one]


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(prog="make bench-stops")
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--replies", type=int, default=100)
    arguments = parser.parse_args()
    Device.checks = False
    with measured_stack("stops") as (stack, model):
        print("| | n | median | p99 | most |\n| --- | ---: | ---: | ---: | ---: |")
        idle = asyncio.run(stops(stack, model, arguments.stops))
        print(line("stop to the model's connection, idle", idle, "ms"), flush=True)
        with streaming(stack, arguments.replies) as (said, began):
            until = began + REPLY_SECONDS - 1
            busy = asyncio.run(stops_at_once(stack, model, arguments.stops, until))
            said.read()
        print(line(f"the same, {arguments.replies} streaming", busy, "ms"))


if __name__ == "__main__":
    main()
