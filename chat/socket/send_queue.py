"""How frames leave by one socket: straight, or, when its client is slow, after what waits.

A published event is made one WebSocket frame, the same bytes for every socket. Frames wait here
only while the network takes no more. First what is of the moment goes (typing, presence), then
deltas of one reply are merged into one, then the client is cut off: it resumes by `seq` and loses
nothing.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from websockets.frames import Frame, Opcode

from chat.socket import registry
from protocol import limits
from protocol.frames import EVENTS, WhenSlow

# From this many waiting frames on, what can give way does.
_CROWDED = 50


@lru_cache(maxsize=16)
def framed(text: str) -> bytes:
    """Return the WebSocket frame of a text: for one text the same object, one socket after another.

    A server does not mask its frames, so they are the same for all.
    """
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class TooSlow(Exception):
    """The client reads so slowly that what waits for it has outgrown the limits."""


class _Delta:
    """A waiting `reply.delta`, able to take in the next ones of the same attempt.

    Merged, it carries the index of its last part and, as `first_index`, that of its first.
    """

    __slots__ = ("attempt", "frames", "last", "message", "size")

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.message: str = event["message"]
        self.attempt: int = event["attempt"]
        self.last: int = event["index"]
        self.frames: list[str] = [event["frame"]]
        self.size = len(framed(event["frame"]))

    def takes(self, event: Mapping[str, Any]) -> bool:
        expected = (self.message, self.attempt, self.last + 1)
        return expected == (event["message"], event["attempt"], event["index"])

    def add(self, event: Mapping[str, Any]) -> None:
        self.frames.append(event["frame"])
        self.last = event["index"]
        self.size += len(framed(event["frame"]))

    def encode(self) -> str:
        if len(self.frames) == 1:
            return self.frames[0]
        parts = [json.loads(frame) for frame in self.frames]
        merged = parts[-1]
        merged["first_index"] = parts[0]["index"]
        merged["text"] = "".join(part["text"] for part in parts)
        merged["reasoning"] = "".join(part.get("reasoning", "") for part in parts)
        return json.dumps(merged, separators=(",", ":"), ensure_ascii=False)


class _Waiting:
    """Frames that wait, in order, with their sizes, and what is known of them."""

    __slots__ = ("bytes", "deltas", "drained", "frames", "progress_at", "seen", "sent")

    def __init__(self) -> None:
        self.frames: deque[tuple[str, int] | _Delta] = deque()
        self.deltas: dict[str, _Delta] = {}
        self.bytes = 0
        self.drained: asyncio.Event | None = None
        # Frames sent, and the bytes of them that the client had not taken, when last looked at.
        self.sent = 0
        self.seen: tuple[int, int] | None = None
        self.progress_at = 0.0

    def append(self, frame: tuple[str, int] | _Delta, size: int) -> None:
        self.frames.append(frame)
        self.bytes += size

    def popleft(self) -> str:
        """Take the first frame out, as text."""
        first = self.frames.popleft()
        if isinstance(first, _Delta):
            if self.deltas.get(first.message) is first:
                del self.deltas[first.message]
            self.bytes -= first.size
            return first.encode()
        self.bytes -= first[1]
        return first[0]


class SendQueue:
    """Writes frames straight, while nothing waits; then a bounded queue of them, in order.

    `write` takes a whole WebSocket frame at once, or says False; without it every frame waits for
    `send`, which takes its text. Whoever is called by `wake` must see that `run` runs. `buffered`
    says how many bytes were written that the client has not taken yet.
    """

    __slots__ = ("_buffered", "_send", "_waiting", "_wake", "_write", "dropped", "merged")

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        wake: Callable[[], None],
        write: Callable[[bytes], bool] | None = None,
        buffered: Callable[[], int] | None = None,
    ) -> None:
        self._send = send
        self._wake = wake
        self._write = write
        self._buffered = buffered
        # None while nothing waits, and nothing is being sent.
        self._waiting: _Waiting | None = None
        self.dropped = 0
        self.merged = 0

    def __len__(self) -> int:
        return len(self._waiting.frames) if self._waiting is not None else 0

    def put(self, frame: str) -> None:
        """Send an encoded frame, or let it wait. Raises TooSlow when too much waits already."""
        if self._waiting is None and self._write is not None and self._write(framed(frame)):
            registry.traffic.frames += 1
            return
        size = len(framed(frame))
        waiting = self._room()
        # Whatever comes after a frame must not be merged into what came before it.
        waiting.deltas.clear()
        waiting.append((frame, size), size)

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Put a published event (see `core.publishing`). Raises TooSlow as `put` does."""
        frame: str = event["frame"]
        if self._waiting is None and self._write is not None and self._write(framed(frame)):
            registry.traffic.frames += 1
            return
        declared = EVENTS.get(event["kind"])
        when_slow = declared.when_slow if declared is not None else WhenSlow.KEPT
        crowded = len(self) >= _CROWDED
        if when_slow is WhenSlow.DROPPED and crowded:
            self.dropped += 1
            return
        if when_slow is not WhenSlow.MERGED:
            self.put(frame)
            return
        waiting = self._room()
        before = waiting.deltas.get(event["message"])
        if crowded and before is not None and before.takes(event):
            before.add(event)
            waiting.bytes += len(framed(frame))
            self.merged += 1
            return
        delta = _Delta(event)
        waiting.deltas[delta.message] = delta
        waiting.append(delta, delta.size)

    def _room(self) -> _Waiting:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = _Waiting()
            self._wake()
        # The last one may go beyond: it may be larger than the limit by itself, and it is not the
        # client who is slow then.
        elif (
            len(waiting.frames) >= limits.MAX_WAITING_FRAMES
            or waiting.bytes >= limits.MAX_WAITING_BYTES
        ):
            raise TooSlow
        return waiting

    async def run(self) -> None:
        """Send what waits, until nothing does. Ends early with what `send` raises."""
        waiting = self._waiting
        while waiting is not None and waiting.frames:
            await self._send(waiting.popleft())
            waiting.sent += 1
        self._waiting = None
        if waiting is not None and waiting.drained is not None:
            waiting.drained.set()

    def stuck(self, now: float) -> bool:
        """Say, by a clock that asks often, whether the client has taken nothing for too long."""
        waiting = self._waiting
        if waiting is None:
            return False
        buffered = self._buffered() if self._buffered is not None else 0
        before, waiting.seen = waiting.seen, (waiting.sent, buffered)
        if before is None or waiting.sent > before[0] or buffered < before[1]:
            waiting.progress_at = now
        return now >= waiting.progress_at + limits.STUCK_SECONDS

    async def drained(self) -> None:
        """Wait until everything put so far was sent."""
        waiting = self._waiting
        if waiting is None:
            return
        if waiting.drained is None:
            waiting.drained = asyncio.Event()
        await waiting.drained.wait()
