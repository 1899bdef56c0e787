"""The fault suite finds what it is there to find: one byte, one message, one number."""

import base64
import copy
import json
import random
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import AsyncMock

import httpx
import pytest

from tests.fakes.openai_server import Record
from tests.fakes.script import directive, directives_in
from tests.faults.device import Device
from tests.faults.ledger import Ledger, Sent
from tests.faults.plans import plan_of
from tests.faults.reckoning import Reckoning
from tests.faults.room import Person, Room
from tests.faults.session import Session, SignedOut, Unreachable

CONTENT = f"Go on. {directive(tokens=30, seed=5, finish='length', id='n1')}"
TEXT = plan_of(CONTENT).text
REST = plan_of(CONTENT, TEXT).text
WHOLE = TEXT + REST
REWORDED = f"Go on. {directive(tokens=20, seed=6, id='n2')}"
Row = dict[str, Any]


class Scene:
    """A conversation in which everyone agrees on everything.

    A message, a reply that was cut off and then went on, and another wording of the message with a
    reply of its own.
    """

    def __init__(self) -> None:
        common = {"conversation": "c", "error_code": "", "usage": None, "edited_at": None}
        common["deleted_at"] = None
        question = {**common, "role": "user", "status": "complete", "attempt": 0, "parent": None}
        answer = {**common, "role": "assistant", "status": "complete", "client_id": None}
        self.message: Row = {
            **question,
            "id": "m",
            "content": CONTENT,
            "client_id": "x",
            "seq": 3,
            "created_seq": 3,
            "number": 1,
        }
        usage = {"input_tokens": 1, "output_tokens": 60, "estimated": False}
        self.reply: Row = {
            **answer,
            "id": "r",
            "content": WHOLE,
            "parent": "m",
            "seq": 9,
            "created_seq": 4,
            "number": 2,
            "attempt": 3,
            "finish_reason": "stop",
            "usage": usage,
        }
        self.branch: Row = {
            **question,
            "id": "m2",
            "content": REWORDED,
            "client_id": "y",
            "seq": 10,
            "created_seq": 10,
            "number": 3,
        }
        self.other: Row = {
            **answer,
            "id": "r2",
            "content": plan_of(REWORDED).text,
            "parent": "m2",
            "seq": 13,
            "created_seq": 11,
            "number": 4,
            "attempt": 1,
            "finish_reason": "stop",
            "usage": {**usage, "output_tokens": 20},
        }
        self.stored = [self.message, self.reply, self.branch, self.other]
        self.ledger = Ledger()
        self.sent = Sent("c", "x", CONTENT, wants_reply=True, message="m")
        self.reworded = Sent("c", "y", REWORDED, wants_reply=True, message="m2", instead_of="m")
        self.ledger.sent["c"].update(x=self.sent, y=self.reworded)
        self.ledger.ended({**self.reply, "content": TEXT, "seq": 6, "attempt": 1})
        self.records = [
            _record(CONTENT, "", TEXT),
            _record(CONTENT, TEXT, REST),
            _record(REWORDED, "", plan_of(REWORDED).text),
        ]
        person = Person("", self.ledger, random.Random(0))
        self.device = Device(
            "the client",
            url="",
            session=person.session,
            http=person.http,
            conversation="c",
            ledger=self.ledger,
            source=random.Random(0),
        )
        self.changes: Row = {
            "epoch": "e",
            "since": None,
            "seq": 13,
            "reset": False,
            "complete": True,
            "more_before": False,
            "conversation": {"changed_seq": 0, "seq": 13},
            "people": 1,
            "members": [{"id": "1", "seq": 1}, {"id": "2", "seq": 2}],
            "snapshots": [],
            "tallies": [],
            "topics": [],
        }
        self.given = [{"emoji": "👍"}, {"emoji": "👍"}]
        kind = {"emoji": "👍", "count": 2, "users": ["1", "2"]}
        self.tally: Row = {"message": "m", "seq": 13, "reactions": [kind], "mine": []}
        self.changes["tallies"] = [copy.deepcopy(self.tally)]
        self.shown = copy.deepcopy(self.stored)
        self.told = True
        self.listed = _list(read=2, number=4)
        self.list_shown = copy.deepcopy(self.listed)

    async def violations(self) -> list[str]:
        """Reckon up; return the kinds of what was found."""
        self.device.known.load({**self.changes, "messages": self.shown})
        room = Room(1, [cast(Person, self)], self.ledger, random.Random(0))
        room.id, room.devices = "c", [self.device]
        room.owners[self.device.name] = cast(Person, self)
        self.device.rooms.load(self.list_shown)
        # It is not connected, and has been told.
        self.device.until_listed = AsyncMock(return_value=self.told)  # type: ignore[method-assign]
        await Reckoning(self.ledger).room(room, self.records)
        return [kind for kind, _ in self.ledger.violations]

    async def ask(self, method: str, path: str) -> Row:
        """Answer as the stack over REST."""
        if "/me/changes/" in path:
            return self.listed
        if path.endswith("/changes/"):
            return self.changes
        if "/reactions/" in path:
            return {"results": self.given}
        return {"results": self.stored, "tallies": [self.tally], "more_after": False}


def _list(*, read: int, number: int) -> Row:
    mine = {"conversation": "c", "seq": 1, "read": read, "number": number, "removed": []}
    own = {"level": "all", "muted_until": None, "pinned": None, "follows": True}
    own |= {"named": [], "mentions": 0, "as_of": 13}
    room = {
        "id": "c",
        "seq": 13,
        "title": "",
        "preview": "",
        "number": number,
        "active_at": "",
        "members_of": "c",
        "mine": mine | own,
    }
    answer = {"since": None, "epoch": "e", "reset": False, "complete": True, "cursor": None}
    return {**answer, "seq": 1, "at": "1.1:1:", "gone": [], "blocks": [], "rooms": [room]}


def _record(question: str, said: str, text: str) -> Record:
    directives = tuple(directives_in(question))
    return Record("1", {}, {}, 0.0, status=200, text=text, directives=directives, said=said)


async def test_where_all_agree_nothing_is_found() -> None:
    scene = Scene()

    assert await scene.violations() == []
    assert scene.ledger.passed > 8


async def test_a_tally_that_is_no_recount_is_found() -> None:
    scene = Scene()
    scene.given.append({"emoji": "🎉"})

    assert "wrong" in await scene.violations()


async def test_a_client_that_shows_other_reactions_is_found() -> None:
    scene = Scene()
    scene.changes["tallies"][0]["reactions"] = []

    assert "wrong" in await scene.violations()


def _another(scene: Scene, of: Row, **changed: Any) -> Row:
    scene.stored.append({**of, **changed})
    return scene.stored[-1]


SABOTAGE: dict[str, tuple[str, Callable[[Scene], object]]] = {
    "a stored reply lacks its last byte": (
        "truncated",
        lambda scene: scene.other.update(content=scene.other["content"][:-1]),
    ),
    "a stored reply has a byte too many": (
        "doubled",
        lambda scene: scene.other.update(content=scene.other["content"] + "."),
    ),
    "a stored reply has another byte": (
        "wrong",
        lambda scene: scene.other.update(content="#" + scene.other["content"][1:]),
    ),
    "a client shows a byte less": (
        "truncated",
        lambda scene: scene.shown[1].update(content=WHOLE[:-1]),
    ),
    "a client shows text twice": (
        "doubled",
        lambda scene: scene.shown[1].update(content=WHOLE * 2),
    ),
    "a client lacks a message": ("lost", lambda scene: scene.shown.pop(0)),
    "a client shows another status": (
        "wrong",
        lambda scene: scene.shown[1].update(status="cancelled"),
    ),
    "a message is stored twice": (
        "doubled",
        lambda scene: _another(scene, scene.message, id="m3", created_seq=14, seq=14),
    ),
    "two replies to one turn at once": (
        "doubled",
        lambda scene: _another(scene, scene.reply, id="r3", created_seq=5, seq=14),
    ),
    "an acknowledged message is not stored": (
        "lost",
        lambda scene: scene.ledger.sent["c"].update(
            z=Sent("c", "z", "hello", False, message="gone")
        ),
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
        lambda scene: scene.changes.update(seq=14),
    ),
    "the model said something else": (
        "wrong",
        lambda scene: setattr(scene.records[2], "text", scene.records[2].text[:-1]),
    ),
    "a reply is billed twice": (
        "wrong",
        lambda scene: scene.other["usage"].update(output_tokens=40),
    ),
    "a continued reply has lost what it had said": (
        "truncated",
        lambda scene: scene.reply.update(content=REST),
    ),
    "a continued reply has a byte of what it had said twice": (
        "doubled",
        lambda scene: scene.reply.update(content=TEXT + TEXT[-1] + REST),
    ),
    "a continued reply lacks its last byte": (
        "truncated",
        lambda scene: scene.reply.update(content=WHOLE[:-1]),
    ),
    "a continued reply begins anew": (
        "wrong",
        lambda scene: scene.reply.update(content=TEXT + TEXT),
    ),
    "a continued reply went on, and nobody had asked the model": (
        "wrong",
        lambda scene: scene.records.pop(1),
    ),
    "of a continued reply only the last run is billed": (
        "wrong",
        lambda scene: scene.reply["usage"].update(output_tokens=30),
    ),
    "a reply ended otherwise for somebody": (
        "wrong",
        lambda scene: scene.ledger.ended({**scene.reply, "content": WHOLE[:-1]}),
    ),
    "two clicks made two runs": (
        "doubled",
        lambda scene: scene.records.append(scene.records[1]),
    ),
    "the model was told of another branch": (
        "wrong",
        lambda scene: setattr(
            scene.records[2], "directives", (*directives_in(CONTENT), *directives_in(REWORDED))
        ),
    ),
    "another wording has another place": ("wrong", lambda scene: scene.branch.update(parent="r")),
    "a message was said under another than its sender saw": (
        "wrong",
        lambda scene: setattr(scene.sent, "parent", "r2"),
    ),
    "a message that followed the newest hangs elsewhere": (
        "wrong",
        lambda scene: (
            _another(scene, scene.message, id="m3", client_id="z", created_seq=14, seq=14),
            scene.ledger.sent["c"].update(z=Sent("c", "z", CONTENT, True, message="m3")),
        ),
    ),
    "a message was deleted by nobody": (
        "wrong",
        lambda scene: scene.message.update(deleted_at="2026-01-01"),
    ),
    "a deleted message still says something": (
        "wrong",
        lambda scene: (
            scene.message.update(deleted_at="2026-01-01"),
            setattr(scene.sent, "deleted", True),
        ),
    ),
    "a message was edited by nobody": (
        "wrong",
        lambda scene: scene.message.update(edited_at="2026-01-01"),
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
    hear = _streaming(scene, attempt=1, content="")

    hear(0, TEXT[:10])
    hear(1, TEXT[10:20])
    assert scene.ledger.violations == []
    hear(2, TEXT[10:20])

    assert [kind for kind, _ in scene.ledger.violations] == ["wrong"]


async def test_a_client_that_shows_a_continued_reply_begin_anew_is_found() -> None:
    scene = Scene()
    hear = _streaming(scene, attempt=3, content=TEXT)

    hear(0, TEXT)
    hear(1, REST[:10])
    assert scene.ledger.violations == []
    hear(2, TEXT[:10])

    assert [kind for kind, _ in scene.ledger.violations] == ["wrong"]


def _streaming(scene: Scene, *, attempt: int, content: str) -> Callable[[int, str], None]:
    """Let the reply stream to the client; return what hears its deltas."""
    scene.ledger.ends.clear()
    scene.shown[1].update(status="streaming", content=content, attempt=attempt)
    device = scene.device
    device.known.load({**scene.changes, "messages": scene.shown})
    device.subscribed = True
    delta = {"type": "reply.delta", "conversation": "c", "message": "r", "attempt": attempt}
    return lambda index, text: device._hear({**delta, "index": index, "text": text})


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([{"attempt": 2, "status": "pending"}, {"attempt": 4, "status": "pending"}], "doubled"),
        ([{"attempt": 1, "status": "complete"}], "lost"),
        ([{"attempt": 2, "status": "pending", "content": ""}], "truncated"),
        ([{"attempt": 2, "status": "pending"}, {"attempt": 3, "status": "streaming"}], None),
    ],
)
async def test_two_clicks_that_do_not_make_one_run_are_found(
    answers: list[Row], kind: str | None
) -> None:
    scene = Scene()
    room = Room(1, [cast(Person, scene)], scene.ledger, random.Random(0))
    before = {**scene.reply, "content": TEXT, "attempt": 1}

    room._heard(before, [{"message": {**before, **answer}} for answer in answers], calm=True)

    assert [kind for kind, _ in scene.ledger.violations] == ([] if kind is None else [kind])


async def test_a_session_that_is_refused_is_found() -> None:
    ledger = Ledger()
    refusal = httpx.MockTransport(lambda _: httpx.Response(401, json={"code": "session_revoked"}))

    async with httpx.AsyncClient(transport=refusal, base_url="http://server") as http:
        with pytest.raises(SignedOut):
            await Session(ledger, random.Random(0)).access(http)

    assert [kind for kind, _ in ledger.violations] == ["lost"]


async def test_a_refresh_whose_answer_is_lost_is_asked_again_with_the_same_token() -> None:
    ledger = Ledger()
    asked = []
    claims = base64.urlsafe_b64encode(b'{"iat": 0, "exp": 20}').decode()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["refresh"])
        if len(asked) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(200, json={"access": f"a.{claims}.c", "refresh": "next"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://server")
    session = Session(ledger, random.Random(1))
    async with http:
        with pytest.raises(Unreachable):
            await session.access(http)
        assert await session.access(http) == f"a.{claims}.c"

    assert asked == ["", ""]
    assert ledger.counts["tokens renewed"] == 1


async def test_a_list_that_counts_wrong_is_found() -> None:
    scene = Scene()
    scene.listed = scene.list_shown = _list(read=2, number=5)
    assert await scene.violations() == ["wrong"]


async def test_a_list_that_shows_less_than_one_asked_for_afresh_is_found() -> None:
    scene = Scene()
    scene.list_shown = _list(read=2, number=3)
    assert await scene.violations() == ["wrong"]


async def test_a_list_that_is_never_told_is_found() -> None:
    scene = Scene()
    scene.told = False
    assert await scene.violations() == ["lost"]
