"""The fault suite finds what it is there to find: one byte, one message, one number."""

import copy
import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.fakes.openai_server import Record
from tests.fakes.script import directive
from tests.faults.device import Device
from tests.faults.ledger import Ledger, Sent
from tests.faults.plans import plan_of
from tests.faults.reckoning import Reckoning
from tests.faults.room import Person, Room

CONTENT = f"Go on. {directive(tokens=30, seed=5, id='n1')}"
TEXT = plan_of(CONTENT).text
Row = dict[str, Any]


class Scene:
    """A conversation of one message and its reply, with everyone agreeing on it."""

    def __init__(self) -> None:
        common = {"conversation": "c", "error_code": "", "attempt": 0, "usage": None}
        self.message: Row = {
            **common,
            "id": "m",
            "role": "user",
            "content": CONTENT,
            "status": "complete",
            "client_id": "x",
            "parent": None,
            "seq": 3,
            "created_seq": 3,
        }
        usage = {"input_tokens": 1, "output_tokens": 30, "estimated": False}
        self.reply: Row = {
            **common,
            "id": "r",
            "role": "assistant",
            "content": TEXT,
            "status": "complete",
            "client_id": None,
            "parent": "m",
            "seq": 6,
            "created_seq": 4,
            "attempt": 1,
            "usage": usage,
        }
        self.stored = [self.message, self.reply]
        self.ledger = Ledger()
        sent = self.ledger.sent["x"] = Sent("c", "x", CONTENT, wants_reply=True)
        sent.message = "m"
        messages = [{"role": "user", "content": CONTENT}]
        self.record = Record("1", {}, {"messages": messages}, 0.0, status=200, text=TEXT)
        self.device = Device(
            "the client",
            url="",
            token="",
            conversation="c",
            ledger=self.ledger,
            source=random.Random(0),
        )
        self.changes: Row = {
            "epoch": "e",
            "since": None,
            "seq": 6,
            "reset": False,
            "complete": True,
            "more_before": False,
            "conversation": {"changed_seq": 0},
            "members": [{"id": "1", "seq": 1}, {"id": "2", "seq": 2}],
            "snapshots": [],
        }
        self.shown = copy.deepcopy(self.stored)

    async def violations(self) -> list[str]:
        """Reckon up; return the kinds of what was found."""
        self.device.known.load({**self.changes, "messages": self.shown})
        room = Room(1, [cast(Person, self)], self.ledger, random.Random(0))
        room.id, room.devices = "c", [self.device]
        await Reckoning(self.ledger, [self.record]).room(room)
        return [kind for kind, _ in self.ledger.violations]

    async def ask(self, method: str, path: str) -> Row:
        """Answer as the stack over REST."""
        if path.endswith("/changes/"):
            return self.changes
        return {"results": self.stored, "more_after": False}


async def test_where_all_agree_nothing_is_found() -> None:
    scene = Scene()

    assert await scene.violations() == []
    assert scene.ledger.passed > 8


def _another(scene: Scene, of: Row, **changed: Any) -> None:
    scene.stored.append({**of, **changed})


SABOTAGE: dict[str, tuple[str, Callable[[Scene], object]]] = {
    "a stored reply lacks its last byte": (
        "truncated",
        lambda scene: scene.reply.update(content=TEXT[:-1]),
    ),
    "a stored reply has a byte too many": (
        "doubled",
        lambda scene: scene.reply.update(content=TEXT + TEXT[-1]),
    ),
    "a stored reply has another byte": (
        "wrong",
        lambda scene: scene.reply.update(content="#" + TEXT[1:]),
    ),
    "a client shows a byte less": (
        "truncated",
        lambda scene: scene.shown[1].update(content=TEXT[:-1]),
    ),
    "a client shows text twice": ("doubled", lambda scene: scene.shown[1].update(content=TEXT * 2)),
    "a client lacks a message": ("lost", lambda scene: scene.shown.pop(0)),
    "a client shows another status": (
        "wrong",
        lambda scene: scene.shown[1].update(status="cancelled"),
    ),
    "a message is stored twice": (
        "doubled",
        lambda scene: _another(scene, scene.message, id="m2", created_seq=7, seq=7),
    ),
    "two replies to one turn at once": (
        "doubled",
        lambda scene: _another(scene, scene.reply, id="r2", created_seq=5, seq=7),
    ),
    "an acknowledged message is not stored": (
        "lost",
        lambda scene: scene.ledger.sent.update(y=Sent("c", "y", "hello", False, message="gone")),
    ),
    "a reply is left streaming": ("lost", lambda scene: scene.reply.update(status="streaming")),
    "a reply failed that should not": ("lost", lambda scene: scene.reply.update(status="failed")),
    "a reply was stopped by nobody": (
        "truncated",
        lambda scene: scene.reply.update(status="cancelled"),
    ),
    "a message without its reply": ("lost", lambda scene: scene.stored.pop(1)),
    "the conversation counted a change that is nowhere": (
        "lost",
        lambda scene: scene.changes.update(seq=7),
    ),
    "the model said something else": (
        "wrong",
        lambda scene: setattr(scene.record, "text", TEXT[:-1]),
    ),
    "a reply is billed twice": (
        "wrong",
        lambda scene: scene.reply["usage"].update(output_tokens=60),
    ),
}


@pytest.mark.parametrize("sabotage", SABOTAGE)
async def test_what_does_not_agree_is_found(sabotage: str) -> None:
    kind, spoil = SABOTAGE[sabotage]
    scene = Scene()
    spoil(scene)

    assert kind in await scene.violations()


async def test_a_client_that_shows_text_twice_while_it_streams_is_found() -> None:
    scene = Scene()
    scene.shown[1].update(status="streaming", content="")
    device = scene.device
    device.known.load({**scene.changes, "messages": scene.shown})
    device.subscribed = True

    delta = {"type": "reply.delta", "conversation": "c", "message": "r", "attempt": 1}
    for index, text in enumerate([TEXT[:10], TEXT[10:20]]):
        device._hear({**delta, "index": index, "text": text})
    assert scene.ledger.violations == []
    device._hear({**delta, "index": 2, "text": TEXT[10:20]})

    assert [kind for kind, _ in scene.ledger.violations] == ["wrong"]
