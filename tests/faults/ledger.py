"""What was done and what was seen, by everyone, for the reckoning at the end."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

KINDS = ("lost", "doubled", "truncated", "wrong")


@dataclass
class Sent:
    """A message somebody sent, perhaps several times."""

    conversation: str
    client_id: str
    content: str
    wants_reply: bool
    message: str | None = None
    tries: int = 0
    began_at: float = field(default_factory=time.monotonic)


class Ledger:
    """One for a run."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}
        self.stopped: set[str] = set()
        self.violations: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.passed = 0

    def acknowledged(self, sent: Sent, answer: dict[str, Any]) -> None:
        """Note the answer to a send: always the one message."""
        message = answer["message"]
        if sent.message not in (None, message["id"]):
            self.violate("doubled", f"{sent.client_id} was stored as two messages")
        sent.message = message["id"]
        if message["content"] != sent.content:
            self.violate("wrong", f"{sent.client_id} was stored otherwise than sent")
        if sent.wants_reply and answer["reply"] is None:
            self.violate("lost", f"{sent.client_id} was stored without a reply")

    def violate(self, kind: str, what: str) -> None:
        """Note that a promise was broken."""
        assert kind in KINDS
        self.violations.append((kind, what))

    def compare(self, expected: str, found: str, what: str) -> bool:
        """Check a text to the byte, and say what is wrong with it."""
        if expected == found:
            self.passed += 1
            return True
        length = f"{len(found)} characters of {len(expected)}"
        if expected.startswith(found):
            self.violate("truncated", f"{what}: {length}")
        elif found.startswith(expected) or len(found) > len(expected):
            self.violate("doubled", f"{what}: {length}")
        else:
            self.violate("wrong", f"{what}: {length}")
        return False

    def check(self, holds: bool, kind: str, what: str) -> None:
        """Check a fact."""
        if holds:
            self.passed += 1
        else:
            self.violate(kind, what)

    @property
    def unacknowledged(self) -> list[Sent]:
        """Messages under way."""
        return [sent for sent in self.sent.values() if sent.message is None]
