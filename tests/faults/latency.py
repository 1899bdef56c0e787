"""How long a first token takes, and whether many replies at once keep the model's pace.

    python -m tests.faults.latency [--replies 100] [--probes 300] [--workers 1]

The Procfile's processes on a PostgreSQL of their own, with durable commits. The model, the clients
that load the stack and the client that measures are processes of their own, so that none of them
waits for another. Nothing is asserted; the table says what this machine does.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect

from chatire.stack.environment import state_folder
from chatire.stack.postgres import EmbeddedPostgres
from tests.acceptance.stack import ROOT, Stack
from tests.fakes.script import directive
from tests.fakes.text import expected_text, text_pieces
from tests.faults.known import FINAL
from tests.faults.report import percentile
from tests.faults.run import prepare

RATE = 50.0  # tokens a second
PROBE_TOKENS = 3
REPLY_SECONDS = 40.0  # of each reply of the load
QUESTIONS = 100  # in one conversation: people do not ask on for ever, and history costs
_numbers = itertools.count(1)


@dataclass
class Seen:
    """One reply as its client saw it. Times are `time.monotonic()` seconds, as the model's are."""

    id: str
    posted_at: float
    answered_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0
    final_at: float = 0.0
    fault: str = ""


class Talker:
    """A guest, a conversation, a socket that follows it."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection, chat: str) -> None:
        self._http = http
        self._socket = socket
        self._chat = chat

    @classmethod
    async def arrive(cls, leaving: contextlib.AsyncExitStack, url: str, ws: str) -> "Talker":
        """Come in; `leaving` closes what was opened."""
        http = await leaving.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        signed_in = (await http.post("/api/auth/guest/", json={})).json()
        http.headers["Authorization"] = f"Bearer {signed_in['access']}"
        # With a title, no job asks the model for one.
        body = {"kind": "group", "assistant": "assistant", "title": "Latency"}
        chat = (await http.post("/api/conversations/", json=body)).json()["id"]
        socket = await leaving.enter_async_context(
            connect(
                f"{ws}/ws/conversations/{chat}/",
                additional_headers={"Authorization": http.headers["Authorization"]},
                max_size=None,
                ping_interval=None,
                compression=None,
            )
        )
        talker = cls(http, socket, chat)
        await talker._until("ack")
        return talker

    async def _until(self, kind: str) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = json.loads(await self._socket.recv())
            if frame["type"] == kind:
                return frame

    async def ask(self, tokens: int, seed: int) -> Seen:
        """Ask for a reply and read it to its end."""
        key = f"p{os.getpid()}n{next(_numbers)}"
        content = f"Go {directive(tokens=tokens, seed=seed, id=key)}"
        body = {"client_id": uuid4().hex, "content": content, "assistant": "assistant"}
        seen = Seen(key, time.monotonic())
        posting = asyncio.create_task(self._post(seen, body))
        text = ""
        index = 0
        # This client repairs nothing: what it lacks is told.
        others: list[str] = []
        while True:
            raw = await self._socket.recv()
            now = time.monotonic()
            frame = json.loads(raw)
            if frame["type"] == "reply.delta":
                seen.first_at = seen.first_at or now
                seen.last_at = now
                if frame["index"] != index:
                    others.append(f"index {frame['index']} where {index} was due")
                index = frame["index"] + 1
                text += frame["text"]
            elif frame["type"] == "ping":
                await self._socket.send('{"type": "pong"}')
            elif frame["type"] == "message.updated" and frame["message"]["status"] in FINAL:
                seen.final_at = now
                whole = expected_text(seed, tokens)
                content = frame["message"]["content"]
                if content != whole:
                    seen.fault = f"stored {len(content)} of {len(whole)} characters"
                elif text != whole:
                    seen.fault = f"heard {len(text)} of {len(whole)} characters, {others}"
                await posting
                return seen
            else:
                others.append(frame["type"])

    async def _post(self, seen: Seen, body: dict[str, Any]) -> None:
        answer = await self._http.post(f"/api/conversations/{self._chat}/messages/", json=body)
        answer.raise_for_status()
        seen.answered_at = time.monotonic()


async def load(url: str, ws: str, replies: int, seconds: float) -> None:
    """Let `replies` replies stream at once; say when they do, and at the end what was seen."""
    tokens = int(RATE * seconds)
    async with contextlib.AsyncExitStack() as leaving:
        talkers = [await Talker.arrive(leaving, url, ws) for _ in range(replies)]
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def one(number: int, talker: Talker) -> Seen:
            # Not all in one instant; people are not.
            await asyncio.sleep(2.0 * number / replies)
            return await talker.ask(tokens, number + 1)

        seen = await asyncio.gather(*(one(n, talker) for n, talker in enumerate(talkers)))
        print(json.dumps([vars(one) for one in seen]), flush=True)


def plain_seeds() -> Iterator[int]:
    """Seeds of texts that begin with a word.

    A first token that is empty, or that could begin a <think>, is rightly held for the next.
    """
    return (seed for seed in itertools.count(1) if next(text_pieces(seed, 1)).isalpha())


async def probe(url: str, ws: str, times: int, until: float | None = None) -> list[Seen]:
    """Ask for short replies, one after another."""
    seen: list[Seen] = []
    async with contextlib.AsyncExitStack() as leaving:
        seeds = plain_seeds()
        for number in range(times):
            if until is not None and time.monotonic() > until:
                break
            if number % QUESTIONS == 0:
                talker = await Talker.arrive(leaving, url, ws)
                await talker.ask(PROBE_TOKENS, next(seeds))
            seen.append(await talker.ask(PROBE_TOKENS, next(seeds)))
            await asyncio.sleep(0.05)
    return seen


@contextlib.contextmanager
def fake_model() -> Iterator[str]:
    """Run the fake model in a process of its own; give its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.openai_server", "--rate", str(RATE)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextlib.contextmanager
def measured_stack(name: str, *, workers: int = 1, **env: str) -> Iterator[tuple[Stack, str]]:
    """A whole stack on a PostgreSQL of its own, and the base URL of its fake model."""
    name = f"{name}-{os.getpid()}"
    logs = state_folder() / f"{name}-logs"
    logs.mkdir(parents=True)
    postgres = EmbeddedPostgres(state_folder(), name=name)
    with contextlib.ExitStack() as leaving:
        leaving.callback(shutil.rmtree, logs, ignore_errors=True)
        leaving.callback(postgres.destroy)
        postgres.start()
        model = leaving.enter_context(fake_model())
        env = {"THROTTLE_GUEST": "1000000/min", **env}
        stack = Stack(database_url=postgres.url, model_url=model, logs=logs, workers=workers, **env)
        prepare(stack)
        leaving.enter_context(stack)
        one, five, _ = os.getloadavg()
        print(f"Load of the machine before: {one:.1f}, {five:.1f}; cores: {os.cpu_count()}")
        yield stack, model


@contextlib.contextmanager
def streaming(stack: Stack, replies: int) -> Iterator[tuple[IO[str], float]]:
    """Let others' replies stream; give what is said of them, and when they began."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.faults.latency", "--load", stack.url, stack.ws_url),
            *("--replies", str(replies)),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as loading:
        assert loading.stdin is not None
        assert loading.stdout is not None
        if loading.stdout.readline().strip() != "ready":
            raise SystemExit("the load did not start")
        began = time.monotonic()
        loading.stdin.write("go\n")
        loading.stdin.flush()
        time.sleep(3)
        yield loading.stdout, began


def records_of(model: str) -> dict[str, dict[str, Any]]:
    """The model's own record of each run, by the id in its directive."""
    control = model.removesuffix("/v1") + "/control/requests"
    with urllib.request.urlopen(control, timeout=30) as answer:
        records = json.load(answer)
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        prompt = record["body"]["messages"][-1]["content"]
        found[prompt.rpartition(" id=")[2].partition("]]")[0]] = record
    return found


def first_deltas(when: str, seen: list[Seen], records: dict[str, dict[str, Any]]) -> list[str]:
    """From POST to first delta, less what the model took to its first token; and its two parts."""
    asked = [1000 * (records[one.id]["received_at"] - one.posted_at) for one in seen]
    told = [1000 * (one.first_at - records[one.id]["first_piece_at"]) for one in seen]
    answered = [1000 * (one.answered_at - one.posted_at) for one in seen]
    return [
        line(
            f"POST to first delta, {when}", [a + b for a, b in zip(asked, told, strict=True)], "ms"
        ),
        line("· POST until the model is asked", asked, "ms"),
        line("· the model's first token to the client", told, "ms"),
        line("(POST until its answer)", answered, "ms"),
    ]


def slowdowns(seen: list[Seen], records: dict[str, dict[str, Any]]) -> list[float]:
    """Per cent by which a reply, from its first to its last delta, took longer than the model."""
    found = []
    for one in seen:
        record = records[one.id]
        model = record["ended_at"] - record["first_piece_at"]
        found.append(100 * ((one.last_at - one.first_at) / model - 1))
    return found


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """What each process of the stack has used of a core so far, its children included."""
    import psutil

    used: dict[str, float] = {}
    for name, process in stack.processes.items():
        leader = psutil.Process(process.pid)
        family = [leader, *leader.children(recursive=True)]
        used[name] = sum(one.cpu_times().user + one.cpu_times().system for one in family)
    return used


def line(name: str, values: list[float], unit: str) -> str:
    """One row of the table."""
    ordered = sorted(values)
    return (
        f"| {name} | {len(ordered)} | {percentile(ordered, 0.5):.1f} {unit}"
        f" | {percentile(ordered, 0.99):.1f} {unit} | {ordered[-1]:.1f} {unit} |"
    )


def measure(stack: Stack, model: str, replies: int, probes: int) -> list[str]:
    """Return the rows of the table."""
    rows = ["| | n | median | p99 | most |", "| --- | ---: | ---: | ---: | ---: |"]
    idle = asyncio.run(probe(stack.url, stack.ws_url, probes))
    rows += first_deltas("idle", idle, records_of(model))
    with streaming(stack, replies) as (said, streaming_since):
        before, began = cpu_seconds(stack), time.monotonic()
        end = streaming_since + REPLY_SECONDS - 1
        busy = asyncio.run(probe(stack.url, stack.ws_url, probes, end))
        loaded = [Seen(**one) for one in json.loads(said.readline())]
        after, took = cpu_seconds(stack), time.monotonic() - began
    records = records_of(model)
    rows += first_deltas(f"{replies} streaming", busy, records)
    rows.append(line(f"slower than the model, {replies} at once", slowdowns(loaded, records), "%"))
    behind = [1000 * (one.last_at - records[one.id]["ended_at"]) for one in loaded]
    rows.append(line("last delta after the model's end", behind, "ms"))
    faults = [f"{one.id}: {one.fault}" for one in (*idle, *busy, *loaded) if one.fault]
    used = ", ".join(f"{name} {100 * (after[name] - before[name]) / took:.0f} %" for name in after)
    rows += ["", f"Of a core, while they streamed: {used}. Replies not whole: {len(faults)}."]
    rows += faults
    return rows


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(prog="make bench-latency")
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--probes", type=int, default=300)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        url, ws = arguments.load
        asyncio.run(load(url, ws, arguments.replies, REPLY_SECONDS))
        return
    with measured_stack("latency", workers=arguments.workers) as (stack, model):
        print("\n".join(measure(stack, model, arguments.replies, arguments.probes)))


if __name__ == "__main__":
    main()
