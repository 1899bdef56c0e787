"""A fake OpenAI-compatible model server: real wire format, paced, faulty on demand.

    python -m tests.fakes.openai_server --port 9000 --rate 50

It speaks HTTP/1.1 on bare asyncio transports, not ASGI, because the faults need the socket: a
reset, a body that ends in its middle, bytes cut anywhere; and because one ticker then paces
hundreds of streams for a few per cent of a core. `tests.fakes.script` lists what it can do.

Beside `POST /v1/chat/completions` and `GET /v1/models` it answers:

- `GET /control/requests`: what was asked and exactly what was sent, oldest first;
- `DELETE /control/requests`: forget them, and how often faults have struck;
- `PUT /control/default`: a directive for requests that carry none.
"""

import argparse
import asyncio
import contextlib
import email.utils
import itertools
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.fakes.script import (
    Directive,
    Step,
    directives_in,
    parse_directive,
    steps_of,
    usage_of,
)

TICK = 0.004  # seconds; a fifth of a token at 50 tokens/s
_ERROR_CODES = {400: "invalid_request_error", 401: "invalid_api_key", 429: "rate_limit_exceeded"}


@dataclass
class Record:
    """One request for a completion, as the server saw it. Times are `time.monotonic()` seconds."""

    id: str
    headers: dict[str, str]
    body: dict[str, Any]
    received_at: float
    status: int = 0
    text: str = ""
    reasoning: str = ""
    pieces: int = 0
    first_piece_at: float | None = None
    ended_at: float | None = None
    # complete: all sent; refused: an error status; cut: by a fault; disconnected: by the client.
    end: str = ""
    # The directives of all user messages, oldest first; the last is the one that is answered.
    directives: tuple[str, ...] = ()
    # What the model had answered to it already, if it is asked to go on.
    said: str = ""

    @property
    def prompt(self) -> str:
        """The last user message."""
        return _last_user_message(self.body)


class FakeModelServer:
    """The server; belongs to the event loop that started it. Read `records` from any thread."""

    def __init__(self, *, rate: float = 50.0, tokens: int = 24) -> None:
        self.initial = Directive(rate=rate, tokens=tokens)
        self.default = self.initial
        self.records: list[Record] = []
        self.struck: Counter[str] = Counter()
        self.changed = threading.Condition()
        self.port = 0
        self._streams: set[_Stream] = set()
        self._wake = asyncio.Event()
        self._received = itertools.count()
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 picks a free one, found in `port` afterwards."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        assert self._ticker is not None
        self._server.close()
        self.drop_connections()
        self._ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticker

    def drop_connections(self) -> None:
        """Close every connection, whatever it is at."""
        for connection in list(self.connections):
            connection.transport.abort()

    def clear(self) -> None:
        """Forget all requests and the default directive. Streams that run go on."""
        with self.changed:
            self.records.clear()
            self.struck.clear()
            self.default = self.initial

    def record(self, headers: dict[str, str], body: dict[str, Any]) -> Record:
        """Note a request for a completion."""
        messages = body.get("messages", [])
        record = Record(
            f"chatcmpl-{next(self._received)}",
            headers,
            body,
            time.monotonic(),
            directives=tuple(
                found
                for message in messages
                if message.get("role") == "user"
                for found in directives_in(str(message.get("content", "")))
            ),
            said=_said_already(messages),
        )
        with self.changed:
            self.records.append(record)
            self.changed.notify_all()
        return record

    def note(self, record: Record, **changes: Any) -> None:
        """Change a record and tell whoever waits for it."""
        with self.changed:
            for name, value in changes.items():
                setattr(record, name, value)
            self.changed.notify_all()

    async def _tick(self) -> None:
        while True:
            if not self._streams:
                self._wake.clear()
                await self._wake.wait()
            now = time.monotonic()
            for stream in list(self._streams):
                if stream.advance(now):
                    self._streams.discard(stream)
            await asyncio.sleep(TICK)

    def run_stream(self, stream: "_Stream") -> None:
        """Hand a stream to the ticker, its first steps at once."""
        if not stream.advance(time.monotonic()):
            self._streams.add(stream)
            self._wake.set()

    def drop_stream(self, stream: "_Stream") -> None:
        self._streams.discard(stream)


class _Stream:
    """The steps of one answer, and how far it is."""

    def __init__(
        self, connection: "_Connection", record: Record, steps: Iterator[Step], rate: float
    ) -> None:
        self._connection = connection
        self._record = record
        self._steps = steps
        self._step: Step | None = next(steps, None)
        self._interval = 1.0 / rate if rate > 0 else 0.0
        self._due = time.monotonic()

    def advance(self, now: float) -> bool:
        """Do what is due; true when nothing is left to do. One write however much is due."""
        record = self._record
        data: list[bytes] = []
        while (step := self._step) is not None:
            if self._due > now and (step.paced or step.action != "send"):
                break
            if step.action == "send":
                data.append(step.data)
                if step.text or step.reasoning:
                    record.text += step.text
                    record.reasoning += step.reasoning
                if step.paced:
                    record.pieces += 1
                    record.first_piece_at = record.first_piece_at or now
                    self._due += self._interval
            elif step.action == "wait":
                self._due = max(self._due, now) + step.seconds
            else:
                self._connection.send_part(b"".join(data))
                self._connection.end_badly(step.action)
                return True
            self._step = next(self._steps, None)
        if data:
            self._connection.send_part(b"".join(data))
        if self._step is None:
            self._connection.end_well()
            return True
        return False


class _Connection(asyncio.Protocol):
    """One client connection: requests in order, kept alive."""

    transport: asyncio.Transport

    def __init__(self, server: FakeModelServer) -> None:
        self._server = server
        self._received = bytearray()
        self._record: Record | None = None
        self._stream: _Stream | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        server = self._server
        with server.changed:
            server.connections.discard(self)
            server.changed.notify_all()
        if self._stream is not None:
            self._server.drop_stream(self._stream)
        if self._timer is not None:
            self._timer.cancel()
        if self._record is not None and not self._record.end:
            self._finish("disconnected")

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._record is None:
            self._read_request()

    def _read_request(self) -> None:
        head, separator, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not separator:
            return
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (text.partition(":") for text in fields)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._received = bytearray(rest[length:])
        method, path, _ = line.split(" ")
        try:
            body = json.loads(rest[:length]) if length else None
            self._answer(method, path.rstrip("/"), headers, body)
        except (ValueError, KeyError, TypeError) as error:
            self._send_json(400, _error(400, str(error)))

    def _answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        server = self._server
        if method == "POST" and path in ("/v1/chat/completions", "/chat/completions"):
            self._complete(headers, body)
        elif path in ("/v1/models", "/models"):
            model = {"id": "fake", "object": "model", "created": 0, "owned_by": "tests"}
            self._send_json(200, {"object": "list", "data": [model]})
        elif method == "GET" and path == "/control/requests":
            self._send_json(200, [asdict(record) for record in server.records])
        elif method == "DELETE" and path == "/control/requests":
            server.clear()
            self._send_json(200, {})
        elif method == "PUT" and path == "/control/default":
            server.default = parse_directive(body["directive"], server.initial)
            self._send_json(200, {})
        else:
            self._send_json(404, _error(404, f"no such path: {path}"))

    def _complete(self, headers: dict[str, str], body: dict[str, Any]) -> None:
        server = self._server
        record = server.record(headers, body)
        prompt = record.prompt
        if record.said:
            wanted = parse_directive(f"[[fake {record.directives[-1]}]]", server.default)
            wanted = wanted.after(record.said)
        else:
            wanted = parse_directive(prompt, server.default)
        self._record = record

        status = self._refusal(prompt, wanted, body)
        if status:
            record.status = status
            message = "secret upstream detail"
            if "reject_stream_options" in wanted.faults:
                message = "stream_options: Extra inputs are not permitted"
            payload = _error(status, message, wanted.code)
            self._send_json(status, payload, _retry_headers(wanted.retry_after))
            return
        record.status = 200
        if body.get("stream"):
            if delay := wanted.number("slow_headers"):
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(delay, self._start, body, wanted, record)
            else:
                self._start(body, wanted, record)
            return
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        pieces = list(wanted.text_pieces(limit))
        delay = len(pieces) / wanted.rate if wanted.rate else 0.0
        self._timer = asyncio.get_running_loop().call_later(
            delay, self._send_whole, body, wanted, record, pieces
        )

    def _refusal(self, prompt: str, wanted: Directive, body: dict[str, Any]) -> int:
        if "reject_stream_options" in wanted.faults and "stream_options" in body:
            return 400
        if "status" not in wanted.faults:
            return 0
        self._server.struck[prompt] += 1
        often = wanted.number("status", 1, default=float("inf"))
        return int(wanted.number("status")) if self._server.struck[prompt] <= often else 0

    def _start(self, body: dict[str, Any], wanted: Directive, record: Record) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n"
            + f"x-request-id: {record.id}\r\n\r\n".encode()
        )
        steps = steps_of(body, record.id, wanted)
        self._stream = _Stream(self, record, steps, wanted.rate)
        self._server.run_stream(self._stream)

    def _send_whole(
        self, body: dict[str, Any], wanted: Directive, record: Record, pieces: list[str]
    ) -> None:
        finish = wanted.finish if len(pieces) == wanted.length else "length"
        record.text = "".join(pieces)
        message = {"role": "assistant", "content": record.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        self._send_json(
            200,
            {
                "id": record.id,
                "object": "chat.completion",
                "created": int(time.time()),
                "model": str(body.get("model", "fake")),
                "choices": [choice],
                "usage": usage_of(body, len(pieces), 0),
            },
        )

    def _send_json(self, status: int, payload: object, extra: str = "") -> None:
        data = json.dumps(payload).encode()
        self.transport.write(
            f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{extra}"
            f"content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        if self._record is not None:
            self._finish("complete" if status < 400 else "refused")
        self._next_request()

    def send_part(self, data: bytes) -> None:
        """One HTTP chunk."""
        if data and not self.transport.is_closing():
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end_well(self) -> None:
        """The whole answer was sent; the connection may be used again."""
        if not self.transport.is_closing():
            self.transport.write(b"0\r\n\r\n")
            self._finish("complete")
            self._next_request()

    def end_badly(self, action: str) -> None:
        """Stall for ever, or end the connection in the middle of the body."""
        if action == "stall":
            return
        self._finish("cut")
        if action == "reset":
            # Linger 0 makes close() send RST at once and drop what is unsent, as a crash does.
            linger = struct.pack("ii", 1, 0)
            sock = self.transport.get_extra_info("socket")
            asyncio.get_running_loop().call_later(2 * TICK, _reset, self.transport, sock, linger)
        else:
            self.transport.close()

    def _finish(self, end: str) -> None:
        assert self._record is not None
        self._server.note(self._record, end=end, ended_at=time.monotonic())

    def _next_request(self) -> None:
        self._record = self._stream = self._timer = None
        if self._received:
            self._read_request()


def _reset(transport: asyncio.Transport, sock: socket.socket, linger: bytes) -> None:
    if not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


def _last_user_message(body: dict[str, Any]) -> str:
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "user":
            return str(message.get("content", ""))
    return ""


def _said_already(messages: list[dict[str, Any]]) -> str:
    """What the model has answered to the newest directive, if it is asked to go on from there.

    It is, if the last message is the user's, without a directive, right after the answer to one.
    """
    if len(messages) < 3:
        return ""
    asked, said, go_on = messages[-3:]
    roles = [message.get("role") for message in (asked, said, go_on)]
    if roles != ["user", "assistant", "user"]:
        return ""
    if directives_in(str(go_on.get("content", ""))):
        return ""
    return str(said.get("content", "")) if directives_in(str(asked.get("content", ""))) else ""


def _error(status: int, message: str, code: str = "") -> dict[str, Any]:
    kind = _ERROR_CODES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code or kind}}


def _retry_headers(retry_after: str) -> str:
    form, _, value = retry_after.rpartition(":")
    if not value:
        return ""
    if form == "ms":
        return f"retry-after-ms: {value}\r\n"
    if form == "date":
        date = email.utils.formatdate(time.time() + float(value), usegmt=True)
        return f"retry-after: {date}\r\n"
    return f"retry-after: {value}\r\n"


@dataclass
class RunningServer:
    """A server that runs in a thread of its own, for tests and their fixtures."""

    server: FakeModelServer
    loop: asyncio.AbstractEventLoop = field(repr=False)
    stopping: asyncio.Event = field(repr=False)

    @property
    def base_url(self) -> str:
        return self.server.base_url

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.server.connections)

    @property
    def records(self) -> list[Record]:
        """What was asked so far, oldest first."""
        with self.server.changed:
            return list(self.server.records)

    def clear(self) -> None:
        """Forget all requests and the default directive."""
        self.server.clear()

    def forget(self, unwanted: Callable[[Record], bool]) -> None:
        """Forget the requests that have ended and that are not wanted any more."""
        with self.server.changed:
            records = self.server.records
            records[:] = [one for one in records if not (one.end and unwanted(one))]

    def drop_connections(self) -> None:
        """Close every connection, whatever it is at."""
        self.loop.call_soon_threadsafe(self.server.drop_connections)

    def set_default(self, text: str) -> None:
        """Answer requests that carry no directive by this one."""
        self.server.default = parse_directive(text, self.server.initial)

    async def ended(self, index: int = -1, *, timeout: float = 10.0) -> Record:
        """The record at `index`, once its request has ended one way or another.

        Raises TimeoutError after `timeout` seconds.
        """
        return await asyncio.to_thread(self.wait_for_end, index, timeout=timeout)

    def wait_for_end(self, index: int = -1, *, timeout: float = 10.0) -> Record:
        """As `ended`, for tests that are not async."""
        records = self.server.records
        self._wait(lambda: len(records) > max(index, 0) and bool(records[index].end), timeout)
        return self.records[index]

    async def asked(self, requests: int = 1, *, timeout: float = 10.0) -> None:
        """Return once that many requests have come. Raises TimeoutError."""
        records = self.server.records
        await asyncio.to_thread(self._wait, lambda: len(records) >= requests, timeout)

    async def all_closed(self, *, timeout: float = 10.0) -> None:
        """Return once no connection is open. Raises TimeoutError."""
        await asyncio.to_thread(self._wait, lambda: not self.server.connections, timeout)

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        with self.server.changed:
            if not self.server.changed.wait_for(condition, timeout):
                raise TimeoutError("the fake model still waits")


@contextlib.contextmanager
def running_server(*, rate: float = 50.0, port: int = 0) -> Iterator[RunningServer]:
    """Run a server in a thread for the length of the block."""
    ready = threading.Event()
    running: list[RunningServer] = []

    async def serve() -> None:
        server = FakeModelServer(rate=rate)
        await server.start(port)
        stopping = asyncio.Event()
        running.append(RunningServer(server, asyncio.get_running_loop(), stopping))
        ready.set()
        await stopping.wait()
        await server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="fake-model", daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("the fake model server did not start")
    try:
        yield running[0]
    finally:
        running[0].loop.call_soon_threadsafe(running[0].stopping.set)
        thread.join(10)


async def _serve_forever(port: int, rate: float, tokens: int) -> None:
    server = FakeModelServer(rate=rate, tokens=tokens)
    await server.start(port)
    print(f"fake model at {server.base_url}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible model server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens per second")
    parser.add_argument("--tokens", type=int, default=24, help="tokens per reply")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_forever(arguments.port, arguments.rate, arguments.tokens))


if __name__ == "__main__":
    main()
