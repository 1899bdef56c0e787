"""What waits to be sent on one socket, and what gives way when its client is slow.

Frames wait here only while the network takes no more. First what is of the moment goes
(typing, presence), then deltas of one reply are merged into one, then the client is cut off:
it resumes by `seq` and loses nothing.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from protocol.frames import EVENTS, WhenSlow

MAX_FRAMES = 1000
MAX_BYTES = 4 * 1024 * 1024
# From this many waiting frames on, what can give way does.
_CROWDED = 50


class TooSlow(Exception):
    """The client reads so slowly that what waits for it has outgrown the limits."""


class _Delta:
    """A waiting `reply.delta`, able to take in the next ones of the same attempt.

    Merged, it carries the index of its last part and, as `first_index`, that of its first.
    """

    __slots__ = ("attempt", "frames", "last", "message", "size")

    def __init__(self, event: dict[str, Any]) -> None:
        self.message: str = event["message"]
        self.attempt: int = event["attempt"]
        self.last: int = event["index"]
        self.frames: list[str] = [event["frame"]]
        self.size = len(event["frame"])

    def takes(self, event: dict[str, Any]) -> bool:
        expected = (self.message, self.attempt, self.last + 1)
        return expected == (event["message"], event["attempt"], event["index"])

    def add(self, event: dict[str, Any]) -> None:
        self.frames.append(event["frame"])
        self.last = event["index"]
        self.size += len(event["frame"])

    def encode(self) -> str:
        if len(self.frames) == 1:
            return self.frames[0]
        parts = [json.loads(frame) for frame in self.frames]
        merged = parts[-1]
        merged["first_index"] = parts[0]["index"]
        merged["text"] = "".join(part["text"] for part in parts)
        merged["reasoning"] = "".join(part.get("reasoning", "") for part in parts)
        return json.dumps(merged, separators=(",", ":"), ensure_ascii=False)


class SendQueue:
    """A bounded queue of frames and the task that sends them, in order."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: deque[str | _Delta] = deque()
        self._deltas: dict[str, _Delta] = {}
        self._bytes = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.dropped = 0
        self.merged = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, frame: str) -> None:
        """Queue an encoded frame. Raises TooSlow when too much waits already."""
        self._room(len(frame))
        # Whatever comes after a frame must not be merged into what came before it.
        self._deltas.clear()
        self._append(frame, len(frame))

    def put_event(self, event: dict[str, Any]) -> None:
        """Queue a published event (see `core.publishing`). Raises TooSlow as `put` does."""
        declared = EVENTS.get(event["kind"])
        when_slow = declared.when_slow if declared is not None else WhenSlow.KEPT
        crowded = len(self._waiting) >= _CROWDED
        if when_slow is WhenSlow.DROPPED and crowded:
            self.dropped += 1
            return
        if when_slow is not WhenSlow.MERGED:
            self.put(event["frame"])
            return
        waiting = self._deltas.get(event["message"])
        if crowded and waiting is not None and waiting.takes(event):
            self._room(len(event["frame"]))
            waiting.add(event)
            self._bytes += len(event["frame"])
            self.merged += 1
            return
        self._room(len(event["frame"]))
        delta = _Delta(event)
        self._deltas[delta.message] = delta
        self._append(delta, delta.size)

    def _room(self, size: int) -> None:
        # One frame may be larger than the limit by itself; it is not the client who is slow then.
        if len(self._waiting) >= MAX_FRAMES or (self._bytes and self._bytes + size > MAX_BYTES):
            raise TooSlow

    def _append(self, item: str | _Delta, size: int) -> None:
        self._waiting.append(item)
        self._bytes += size
        self._empty.clear()
        self._wake.set()

    async def run(self) -> None:
        """Send what is put, for ever. Ends by cancellation or with what `send` raises."""
        while True:
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, _Delta):
                    if self._deltas.get(item.message) is item:
                        del self._deltas[item.message]
                    self._bytes -= item.size
                    await self._send(item.encode())
                else:
                    self._bytes -= len(item)
                    await self._send(item)
            self._empty.set()
            self._wake.clear()
            await self._wake.wait()

    async def drained(self, timeout: float) -> None:
        """Wait until everything put so far was sent, `timeout` seconds at most."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout)
        except TimeoutError:
            return
