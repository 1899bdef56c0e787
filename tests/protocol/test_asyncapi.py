"""The AsyncAPI document, and what follows from the declarations of frames."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal
from uuid import uuid4

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from pydantic import ValidationError

from chat.socket.handlers import HANDLERS
from protocol.commands import BadCommand, parse_command
from protocol.frames import COMMANDS, EVENTS, Command, Event, WhenSlow
from protocol.tables import fill
from tests.protocol.frames import require_promised

ROOT = Path(__file__).resolve().parents[2]


def committed() -> dict[str, Any]:
    """The document that clients are generated from."""
    document: dict[str, Any] = json.loads((ROOT / "frontend/asyncapi.json").read_text())
    return document


def test_the_committed_document_is_that_of_the_protocol(tmp_path: Path) -> None:
    call_command("asyncapi", file=tmp_path / "made.json")
    assert json.loads((tmp_path / "made.json").read_text()) == committed()


def test_every_frame_is_in_the_document() -> None:
    messages = {message["title"] for message in committed()["components"]["messages"].values()}
    assert set(COMMANDS) | set(EVENTS) | {"ack", "error", "pong"} == messages


def test_every_command_has_its_handler_and_no_other() -> None:
    assert set(HANDLERS) == set(COMMANDS.values())


def test_json_yaml_and_command_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    client = Client()
    as_json = client.get("/api/asyncapi.json")
    assert as_json.json() == yaml.safe_load(client.get("/api/asyncapi.yaml").content)
    call_command("asyncapi", format="yaml")
    assert yaml.safe_load(capsys.readouterr().out) == as_json.json()


def test_the_page_shows_every_frame_and_loads_nothing() -> None:
    page = Client().get("/api/docs/websocket/").content.decode()
    for name in (*COMMANDS, *EVENTS):
        assert f"<code>{name}</code>" in page
    assert "<script" not in page
    assert "https://" not in page


def test_every_rest_twin_exists() -> None:
    paths = json.loads((ROOT / "frontend/openapi.json").read_text())["paths"]
    known = {
        (method.upper(), path.replace("_id}", "}"))
        for path, operations in paths.items()
        for method in operations
    }
    twins = {tuple(one.rest.split(" ", 1)) for one in COMMANDS.values() if one.rest}
    assert twins
    assert twins <= known


def test_a_marked_table_is_made_anew_and_nothing_else() -> None:
    page = "before\n<!-- table: close_codes -->\nold\n<!-- /table -->\nafter\n"
    filled = fill(page)
    assert filled.startswith("before\n<!-- table: close_codes -->\n| code |")
    assert filled.endswith("<!-- /table -->\nafter\n")
    assert "old" not in filled
    assert fill(filled) == filled


def test_two_frames_of_one_type_are_refused() -> None:
    with pytest.raises(TypeError, match="typing"):

        class Again(Event):
            type: Literal["typing"] = "typing"

    assert EVENTS["typing"].__name__ == "TypingEvent"


def test_a_frame_is_read_as_soon_as_it_is_declared() -> None:
    kept = dict(EVENTS)
    try:

        class Waved(Event):
            when_slow: ClassVar = WhenSlow.DROPPED

            type: Literal["waved"] = "waved"

        assert EVENTS["waved"] is Waved
    finally:
        EVENTS.clear()
        EVENTS.update(kept)


@pytest.mark.parametrize("field", ["id", "client_id", "content", "assistant", "model", "language"])
@pytest.mark.parametrize("text", ["a\ud800b", "a\x00b"])
def test_what_cannot_be_stored_is_refused_with_its_field(field: str, text: str) -> None:
    frame = {
        "type": "message.send",
        "id": "1",
        "client_id": "1",
        "content": "hello",
        "conversation": str(uuid4()),
        field: text,
    }
    with pytest.raises(BadCommand) as refused:
        parse_command(frame)
    assert refused.value.code == "invalid"
    assert [problem["field"] for problem in refused.value.fields] == [field]
    # So that the answer can be encoded.
    assert refused.value.command_id in (None, "1")
    json.dumps(refused.value.fields).encode()


def test_a_field_that_is_called_as_a_command_keeps_its_name() -> None:
    with pytest.raises(BadCommand) as refused:
        parse_command({"type": "ping", "id": "1", "read": 1, "ping": 2})
    assert {problem["field"] for problem in refused.value.fields} == {"read", "ping"}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "pong"},
        {"type": "pong", "id": "1", "more": True},
        {"type": "typing", "conversation": "x", "users": [str(uuid4())], "count": 1},
        {"type": "reconnect", "after_ms": "soon"},
    ],
)
def test_a_frame_that_is_not_as_documented_is_noticed(frame: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        require_promised(frame)


def test_frames_are_frozen() -> None:
    command = parse_command({"type": "ping", "id": "1"})
    assert isinstance(command, Command)
    with pytest.raises(ValidationError):
        command.id = "2"
