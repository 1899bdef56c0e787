"""What was done and what was seen, by everyone, for the reckoning at the end."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOLD = 40  # violations
KINDS = ("lost", "doubled", "truncated", "wrong")

Row = dict[str, Any]


@dataclass
class Sent:
    """A message somebody sent, perhaps several times. In a group it may be reworded later."""

    conversation: str
    client_id: str
    content: str
    wants_reply: bool
    parent: str | None = None  # what it was said under; None: whatever is newest
    instead_of: str | None = None  # the message that it rewords
    message: str | None = None
    edited: bool = False
    deleted: bool = False
    tries: int = 0
    began_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class End:
    """How a run of a reply ended, as somebody saw it."""

    attempt: int
    status: str
    content: str
    seq: int


class Ledger:
    """One for a run. `tell` is told of each violation as it is found."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        # By conversation and client_id.
        self.sent: defaultdict[str, dict[str, Sent]] = defaultdict(dict)
        # By reply and attempt. One that is continued ends more than once.
        self.ends: defaultdict[str, dict[int, End]] = defaultdict(dict)
        self.stops: Counter[str] = Counter()  # by reply
        self.violations: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.passed = 0
        self.calm = True  # no fault is under way

    def acknowledged(self, sent: Sent, answer: dict[str, Any]) -> None:
        """Note the answer to a send: always the one message."""
        message = answer["message"]
        if sent.message not in (None, message["id"]):
            self.violate("doubled", f"{sent.client_id} was stored as two messages")
        sent.message = message["id"]
        if message["content"] != sent.content:
            self.violate("wrong", f"{sent.client_id} was stored otherwise than sent")
        if sent.wants_reply and not sent.edited and answer["reply"] is None:
            self.violate("lost", f"{sent.client_id} was stored without a reply")

    def ended(self, row: Row) -> None:
        """Note how a reply ended, as a client sees it. Everybody sees the same of an attempt."""
        seen = self.ends[row["id"]]
        end = seen.get(row["attempt"])
        if end is None:
            seen[row["attempt"]] = End(row["attempt"], row["status"], row["content"], row["seq"])
        elif end.content != row["content"] or end.status != row["status"]:
            self.violate("wrong", f"{row['id']} ended twice in attempt {row['attempt']}")

    def ends_of(self, reply: str) -> list[End]:
        """Return how the runs of a reply ended, oldest first."""
        return [end for _, end in sorted(self.ends.get(reply, {}).items())]

    def forget(self, conversation: str, replies: list[str]) -> None:
        """Forget a conversation that has been reckoned up."""
        self.sent.pop(conversation, None)
        for reply in replies:
            self.ends.pop(reply, None)
            self.stops.pop(reply, None)

    def violate(self, kind: str, what: str) -> None:
        """Note that a promise was broken."""
        assert kind in KINDS
        self.violations.append((kind, what))
        if self._tell is not None and len(self.violations) <= TOLD:
            self._tell(f"FAILED {kind}: {what}")

    def compare(self, expected: str, found: str, what: str) -> bool:
        """Check a text to the byte, and say what is wrong with it."""
        kind = difference(expected, found)
        if kind is None:
            self.passed += 1
            return True
        self.violate(kind, f"{what}: {len(found)} characters of {len(expected)}")
        return False

    def check(self, holds: bool, kind: str, what: str) -> None:
        """Check a fact."""
        if holds:
            self.passed += 1
        else:
            self.violate(kind, what)

    def unacknowledged(self, conversation: str | None = None) -> list[Sent]:
        """Messages under way."""
        conversations = list(self.sent) if conversation is None else [conversation]
        return [
            sent
            for one in conversations
            for sent in self.sent.get(one, {}).values()
            if sent.message is None
        ]


def difference(expected: str, found: str) -> str | None:
    """Say how a text differs from what it should be; None if it does not."""
    if expected == found:
        return None
    if expected.startswith(found):
        return "truncated"
    if found.startswith(expected) or len(found) > len(expected):
        return "doubled"
    return "wrong"
