"""A reply while it is being written: what its model has said, and how far that is stored."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from chat.llm import Delta
from chat.replies import metrics

NOTHING = Delta("", "")
# Characters in one chunk and one delta, so that its frame stays well below the layer's 1 MB.
MAX_PIECE = 32_000


class Halt(Enum):
    """Why reading a model was broken off."""

    STOPPED = "stopped"
    FENCED = "fenced"
    SHUTDOWN = "shutdown"


class Piece(NamedTuple):
    """What one flush takes from one reply."""

    position: int  # the delta's index
    text: str
    reasoning: str


class ActiveReply:
    """Fed by the loop that reads the model, emptied by the flusher; both on one event loop."""

    def __init__(
        self,
        *,
        message_id: UUID,
        conversation_id: UUID,
        attempt: int,
        hurry: Callable[[], None],
        before: Delta = NOTHING,
        place: int | None = None,
    ) -> None:
        self.message_id = message_id
        self.conversation_id = conversation_id
        self.attempt = attempt
        # The message's `created_seq`.
        self.place = place
        self.before = before
        self.pieces_read = 0
        self.next_index = 0
        self.halt_reason: Halt | None = None
        self.reader: asyncio.Task[object] | None = None
        self.drained: asyncio.Event | None = None
        self._hurry = hurry
        # What earlier runs said is the beginning of this one's stream.
        self._new_text: list[str] = [before.text] if before.text else []
        self._new_reasoning: list[str] = [before.reasoning] if before.reasoning else []
        self._text: list[str] = []
        self._reasoning: list[str] = []

    def add(self, delta: Delta) -> None:
        """Take what the model said; the first of it asks for a flush at once."""
        text, reasoning = delta
        if text:
            self._new_text.append(text)
        if reasoning:
            self._new_reasoning.append(reasoning)
        self.pieces_read += 1
        metrics.TOKENS.inc()
        if self.pieces_read == 1:
            self._hurry()

    @property
    def has_more(self) -> bool:
        """Whether something waits to be flushed."""
        return bool(self._new_text or self._new_reasoning)

    def take(self) -> Piece | None:
        """Hand what waits to the flusher, under the next index; None if nothing does."""
        if not self._new_text and not self._new_reasoning:
            return None
        text = _take(self._new_text)
        reasoning = _take(self._new_reasoning)
        self._text.append(text)
        self._reasoning.append(reasoning)
        piece = Piece(self.next_index, text, reasoning)
        self.next_index += 1
        return piece

    def taken(self) -> Piece:
        """All that was taken, as one piece under the last index. Only after a `take`."""
        return Piece(self.next_index - 1, "".join(self._text), "".join(self._reasoning))

    @property
    def content(self) -> str:
        """All the text so far."""
        return "".join(self._text) + "".join(self._new_text)

    @property
    def added(self) -> Delta:
        """What this run has said."""
        return Delta(
            self.content[len(self.before.text) :], self.reasoning[len(self.before.reasoning) :]
        )

    @property
    def reasoning(self) -> str:
        """All the reasoning so far."""
        return "".join(self._reasoning) + "".join(self._new_reasoning)

    def halt(self, reason: Halt) -> None:
        """Break off the reading, promptly. The first reason counts."""
        if self.halt_reason is None and self.reader is not None and not self.reader.done():
            self.halt_reason = reason
            self.reader.cancel()


def _take(parts: list[str]) -> str:
    whole = "".join(parts)
    parts.clear()
    if len(whole) > MAX_PIECE:
        parts.append(whole[MAX_PIECE:])
        whole = whole[:MAX_PIECE]
    return whole
