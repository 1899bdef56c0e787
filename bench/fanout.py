"""How a message reaches a thousand sockets of a room, how fast they open, what an idle one weighs.

    make bench-fanout ARGS="[--sockets 1000] [--messages 60] [--rounds 3] [--against CHECKOUT]"

`web` and `ws` as the Procfile starts them, on a PostgreSQL of their own. One process holds all the
sockets and does as little as can be done with each. With `--against`, another checkout of Chatire
is measured in turn with this one, by the same Python, and the ratio of the medians is given.
Nothing is asserted.
"""

import argparse
import contextlib
import gc
import os
import select
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psutil

from chatire.stack.environment import state_folder
from chatire.stack.postgres import EmbeddedPostgres
from tests.acceptance.stack import ROOT, Database, Stack, procfile

DEADLINE = 120.0  # seconds, for all sockets to open or to hear a message
OPENING = 64  # handshakes under way at once
WARM = 100  # sockets opened and closed before anything is measured
PAUSE = 0.1  # seconds between two messages
HELLO, SUBSCRIBED = b'"type":"hello"', b'"id":"subscribe"'

Sample = dict[str, list[float]]


class Sockets:
    """Open sockets of one person, read by one loop."""

    def __init__(self, port: int, token: str, path: str) -> None:
        self._port = port
        query = "&" if "?" in path else "?"
        self._request = (
            f"GET {path}{query}token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        self._poll = select.epoll()
        self._by_number: dict[int, socket.socket] = {}

    def open(self, count: int, mark: bytes) -> None:
        """Open so many; each is open when it has heard `mark`."""
        heard: dict[int, bytes] = {}
        left, done, deadline = count, 0, time.monotonic() + DEADLINE
        while done < count:
            while left and len(heard) < OPENING:
                heard[self._begin()] = b""
                left -= 1
            for number, _ in self._poll.poll(1.0):
                data = self._by_number[number].recv(65536)
                if number in heard:
                    if not data:
                        raise SystemExit(f"refused: {heard[number]!r}")
                    heard[number] += data
                    if mark in heard[number]:
                        del heard[number]
                        done += 1
            if time.monotonic() > deadline:
                raise SystemExit(f"{done} of {count} sockets opened")

    def _begin(self) -> int:
        one = socket.create_connection(("127.0.0.1", self._port))
        one.sendall(self._request)
        one.setblocking(False)
        self._by_number[one.fileno()] = one
        self._poll.register(one, select.EPOLLIN)
        return one.fileno()

    def hear(self, mark: bytes, sent_at: float) -> tuple[float, float]:
        """Read until every socket has heard `mark`; ms from `sent_at` to the first and the last."""
        waiting, first = set(self._by_number), 0.0
        deadline = time.monotonic() + DEADLINE
        while waiting:
            for number, _ in self._poll.poll(1.0):
                if mark in self._by_number[number].recv(65536):
                    first = first or time.perf_counter()
                    waiting.discard(number)
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(waiting)} sockets never heard it")
        return 1000 * (first - sent_at), 1000 * (time.perf_counter() - sent_at)

    def close(self) -> None:
        """Hang up, all of them."""
        for one in self._by_number.values():
            one.close()
        self._by_number.clear()
        self._poll.close()


class Subject:
    """One running Chatire, and somebody with a room in it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._ws = psutil.Process(stack["ws"].pid)
        # Those that are open.
        self.sockets: Sockets | None = None
        with httpx.Client(base_url=stack.url, timeout=DEADLINE) as http:
            guest = http.post("/api/auth/guest/", json={}).raise_for_status().json()
            self._token = guest["access"]
            http.headers["Authorization"] = f"Bearer {self._token}"
            body = {"kind": "group", "title": "Fan-out"}
            answer = http.post("/api/conversations/", json=body).raise_for_status()
            self.room = answer.json()["id"]

    def measure(self, sockets: int, messages: int) -> Sample:
        """Each figure's values."""
        with self.open(WARM, "/ws/", HELLO):
            pass
        self.until_closed()
        before, began = self._rss(), time.monotonic()
        with self.open(sockets, "/ws/", HELLO):
            opened = sockets / (time.monotonic() - began)
            time.sleep(1.0)
            idle = (self._rss() - before) / sockets
        self.until_closed()
        began = time.monotonic()
        with self.open(sockets, f"/ws/conversations/{self.room}/", SUBSCRIBED) as room:
            followed = sockets / (time.monotonic() - began)
            heard = [self.say(room) for _ in range(messages)][5:]
        self.until_closed()
        return {
            "first_ms": [first for first, _ in heard],
            "spread_ms": [last - first for first, last in heard],
            "last_ms": [last for _, last in heard],
            "open_per_second": [opened],
            "subscribed_per_second": [followed],
            "idle_kb": [idle],
        }

    @contextlib.contextmanager
    def open(self, count: int, path: str, mark: bytes) -> Iterator[Sockets]:
        sockets = Sockets(self.stack.ws_port, self._token, path)
        sockets.open(count, mark)
        self.sockets = sockets
        try:
            yield sockets
        finally:
            self.sockets = None
            sockets.close()

    def client(self) -> httpx.Client:
        """Somebody's requests over one connection."""
        headers = {"Authorization": f"Bearer {self._token}"}
        return httpx.Client(base_url=self.stack.url, headers=headers, timeout=DEADLINE)

    def say_alone(self, http: httpx.Client) -> None:
        """Post one message."""
        body = {"client_id": uuid4().hex, "content": "Hello"}
        http.post(f"/api/conversations/{self.room}/messages/", json=body).raise_for_status()

    def say(self, room: Sockets) -> tuple[float, float]:
        """Post one message without waiting for the answer, which the sockets may precede."""
        time.sleep(PAUSE)
        mark = uuid4().hex
        body = f'{{"client_id":"{mark}","content":"Hello, {mark}"}}'.encode()
        request = (
            f"POST /api/conversations/{self.room}/messages/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", self.stack.web_port)) as posting:
            sent_at = time.perf_counter()
            posting.sendall(request + body)
            heard = room.hear(f"Hello, {mark}".encode(), sent_at)
            assert b" 201 " in posting.recv(65536)
        return heard

    def _rss(self) -> float:
        return self._ws.memory_info().rss / 1024

    def until_closed(self) -> None:
        metrics, deadline = self.stack["ws"].health.replace("health/", "metrics"), DEADLINE
        deadline += time.monotonic()
        while b"chatire_sockets_open 0.0" not in httpx.get(metrics).content:
            if time.monotonic() > deadline:
                raise SystemExit("sockets stayed open")
            time.sleep(0.1)


@contextlib.contextmanager
def running(roots: list[Path]) -> Iterator[Callable[[Path], Subject]]:
    """`start(root)`: a fresh stack of that checkout, one at a time, on its own database."""
    name = f"fanout-{os.getpid()}"
    logs = state_folder() / f"{name}-logs"
    logs.mkdir(parents=True)
    postgres = EmbeddedPostgres(state_folder(), name=name)
    with contextlib.ExitStack() as leaving:
        leaving.callback(shutil.rmtree, logs, ignore_errors=True)
        leaving.callback(postgres.destroy)
        url = postgres.start()
        stacks = {}
        for root in roots:
            database = Database(url)
            database.create()
            env = {"THROTTLE_GUEST": "1000000/min"}
            stack = Stack(
                database_url=database.url,
                model_url="",
                logs=logs,
                folder=root,
                commands=procfile(root),
                **env,
            )
            del stack.processes["worker"]
            stack.release()
            stacks[root] = stack

        def start(root: Path) -> Subject:
            stacks[root].start()
            return Subject(stacks[root])

        yield start


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(prog="make bench-fanout")
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    gc.freeze()
    roots = [ROOT] if arguments.against is None else [arguments.against.resolve(), ROOT]
    found: dict[Path, Sample] = {root: {} for root in roots}
    with running(roots) as start:
        for _ in range(arguments.rounds):
            for root in roots:
                subject = start(root)
                sample = subject.measure(arguments.sockets, arguments.messages)
                subject.stack.stop()
                for figure, values in sample.items():
                    found[root].setdefault(figure, []).extend(values)
    print(f"| {arguments.sockets} sockets, medians | " + " | ".join(map(str, roots)) + " | ratio |")
    print("| --- |" + " ---: |" * (len(roots) + 1))
    for figure in found[ROOT]:
        medians = [statistics.median(found[root][figure]) for root in roots]
        cells = [f"{one:.1f}" for one in medians] + [f"{medians[-1] / medians[0]:.2f}"]
        print(f"| {figure} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
