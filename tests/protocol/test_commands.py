"""What a client may send, and what it is told of what it may not."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ValidationError

from protocol.commands import (
    Auth,
    BadCommand,
    ContinueReply,
    DeleteMessage,
    EditMessage,
    Ping,
    PresenceCommand,
    React,
    Read,
    RegenerateReply,
    SendMessage,
    StopReply,
    Subscribe,
    Sync,
    Typing,
    Unsubscribe,
    Vote,
    WatchPresence,
    parse_command,
)
from protocol.fields import field_errors
from protocol.frames import COMMANDS, Command

ROOM, MESSAGE = uuid4(), uuid4()

# The least that each command says.
LEAST: dict[type[Command], dict[str, Any]] = {
    Subscribe: {"type": "subscribe", "conversation": str(ROOM)},
    Unsubscribe: {"type": "unsubscribe", "conversation": str(ROOM)},
    SendMessage: {
        "type": "message.send",
        "conversation": str(ROOM),
        "client_id": "1",
        "content": "hello",
    },
    EditMessage: {
        "type": "message.edit",
        "message": str(MESSAGE),
        "client_id": "1",
        "content": "hello",
    },
    DeleteMessage: {"type": "message.delete", "message": str(MESSAGE)},
    Vote: {"type": "message.vote", "message": str(MESSAGE), "on": True},
    React: {"type": "message.react", "message": str(MESSAGE), "emoji": "👍", "on": True},
    StopReply: {"type": "reply.stop", "message": str(MESSAGE)},
    RegenerateReply: {"type": "reply.regenerate", "message": str(MESSAGE)},
    ContinueReply: {"type": "reply.continue", "message": str(MESSAGE)},
    Read: {"type": "read", "conversation": str(ROOM), "number": 0},
    Sync: {"type": "sync"},
    Typing: {"type": "typing", "conversation": str(ROOM)},
    PresenceCommand: {"type": "presence", "active": True},
    WatchPresence: {"type": "presence.watch", "people": []},
    Auth: {"type": "auth", "token": "t"},
    Ping: {"type": "ping"},
}
each_command = pytest.mark.parametrize("command", LEAST, ids=lambda command: command.__name__)


def refused(frame: Any) -> BadCommand:
    """Why a frame is no command."""
    with pytest.raises(BadCommand) as caught:
        parse_command(frame)
    return caught.value


def problems(frame: Any) -> list[tuple[str, str]]:
    """What is wrong with it: field and code."""
    return [(field["field"], field["code"]) for field in refused(frame).fields]


def test_every_command_is_among_the_samples() -> None:
    assert set(COMMANDS.values()) == set(LEAST)


@each_command
def test_the_least_of_a_command_is_enough(command: type[Command]) -> None:
    parsed = parse_command({"id": "1", **LEAST[command]})
    assert type(parsed) is command
    assert parsed.id == "1"


@each_command
def test_what_a_command_lacks_is_named_without_its_type(command: type[Command]) -> None:
    wanted = [("id", "missing")]
    wanted += [(name, "missing") for name in LEAST[command] if name != "type"]
    assert sorted(problems({"type": LEAST[command]["type"]})) == sorted(wanted)


@each_command
def test_no_command_takes_unknown_fields(command: type[Command]) -> None:
    assert problems({"id": "1", **LEAST[command], "extra": 1}) == [("extra", "extra_forbidden")]


def test_what_need_not_be_said_is_nothing() -> None:
    said = parse_command({"id": "1", **LEAST[SendMessage]})
    assert isinstance(said, SendMessage)
    assert (said.parent, said.assistant, said.model) == (None, None, None)
    followed = parse_command({"id": "1", **LEAST[Subscribe]})
    assert isinstance(followed, Subscribe)
    assert followed.since is None


def test_a_command_says_what_was_sent() -> None:
    said = parse_command(
        {
            "id": "1",
            **LEAST[SendMessage],
            "parent": str(MESSAGE),
            "assistant": "ada",
            "model": "tiny",
        }
    )
    assert said == SendMessage(
        type="message.send",
        id="1",
        conversation=UUID(str(ROOM)),
        client_id="1",
        content="hello",
        parent=MESSAGE,
        assistant="ada",
        model="tiny",
    )


@pytest.mark.parametrize(
    ("command", "field", "value"),
    [
        (Ping, "id", "i" * 64),
        (Subscribe, "since", 0),
        (Subscribe, "since", 2**63 - 1),
        (SendMessage, "assistant", "a" * 60),
        (SendMessage, "model", "m" * 120),
        (SendMessage, "client_id", "c" * 64),
        (SendMessage, "content", "c" * 32_000),
        (EditMessage, "content", "c" * 32_000),
        (Read, "number", 2**63 - 1),
        (Auth, "token", "t" * 8192),
    ],
)
def test_a_value_up_to_its_limit_is_taken(command: type[Command], field: str, value: Any) -> None:
    parsed = parse_command({"id": "1", **LEAST[command], field: value})
    assert getattr(parsed, field) == value


@pytest.mark.parametrize(
    ("written", "meant"), [(5.0, 5), (0.0, 0), (-0.0, 0), (1e3, 1000), (2.0**62, 2**62)]
)
def test_a_whole_number_is_an_integer_however_it_is_written(written: float, meant: int) -> None:
    read = parse_command({"id": "1", **LEAST[Read], "number": written})
    assert (read.number, type(read.number)) == (meant, int)  # type: ignore[attr-defined]
    since = parse_command({"id": "1", **LEAST[Subscribe], "since": written})
    assert since.since == meant  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "field", "value"),
    [
        (Ping, "id", ""),
        (Ping, "id", "i" * 65),
        (Subscribe, "since", -1),
        (Subscribe, "since", 2**63),
        (Subscribe, "conversation", "here"),
        (SendMessage, "assistant", "a" * 61),
        (SendMessage, "assistant", "a\0"),
        (SendMessage, "model", "m" * 121),
        (SendMessage, "model", ""),
        (SendMessage, "client_id", "c" * 65),
        (SendMessage, "client_id", "a b"),
        (SendMessage, "content", "c" * 32_001),
        (SendMessage, "content", " \n"),
        (EditMessage, "content", ""),
        (Read, "number", -1),
        (Read, "number", True),
        (Read, "number", "5"),
        (Read, "number", 5.5),
        (Read, "number", -1.0),
        (Read, "number", 2.0**63),
        (Read, "number", 1e300),
        (Read, "number", float("inf")),
        (Read, "number", float("nan")),
        (Subscribe, "since", 5.5),
        (Typing, "active", "perhaps"),
        (WatchPresence, "people", [str(ROOM)] * 201),
        (WatchPresence, "people", "alice"),
        (Auth, "token", ""),
        (Auth, "token", "t" * 8193),
    ],
)
def test_a_value_beyond_its_limit_is_refused(
    command: type[Command], field: str, value: Any
) -> None:
    frame = {"id": "1", **LEAST[command], field: value}
    assert refused(frame).code == "invalid"
    assert [name for name, _ in problems(frame)] == [field]


@pytest.mark.parametrize(
    "frame",
    [{"type": "message.sing"}, {"type": None}, {"type": ["ping"]}, {}, [], "ping", None, 7],
)
def test_what_names_no_command_is_of_unknown_type(frame: Any) -> None:
    assert refused(frame).code == "unknown_type"


@pytest.mark.parametrize("command_id", ["1", "i" * 64])
@pytest.mark.parametrize("kind", ["ping", "message.sing"])
def test_a_refusal_says_to_which_command_it_belongs(command_id: str, kind: str) -> None:
    frame = {"type": kind, "id": command_id, "extra": 1}
    assert refused(frame).command_id == command_id


@pytest.mark.parametrize("command_id", ["", "i" * 65, 7, None, ["1"]])
def test_what_is_no_id_is_not_repeated(command_id: Any) -> None:
    assert refused({"type": "ping", "id": command_id}).command_id is None


@pytest.mark.parametrize("frame", [["id"], "id", None, 7])
def test_what_is_no_object_has_no_id(frame: Any) -> None:
    assert refused(frame).command_id is None


def test_a_refusal_is_told_by_its_code() -> None:
    assert str(refused({"type": "ping"})) == "invalid"


def test_a_refusal_explains_itself_and_does_not_repeat_what_was_sent() -> None:
    frame = {"id": "1", **LEAST[Auth], "token": ["a secret"], "also secret": "a secret"}
    fields = refused(frame).fields
    assert [set(field) for field in fields] == [{"field", "code", "message"}] * 2
    assert fields[0] == {
        "field": "token",
        "code": "string_type",
        "message": "Input should be a valid string",
    }
    assert "a secret" not in str(fields)


def test_a_value_inside_another_is_named_by_its_path() -> None:
    class Body(BaseModel):
        people: list[UUID]

    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"people": [str(ROOM), "nobody"]})
    assert [field["field"] for field in field_errors(caught.value)] == ["people.1"]


def test_what_is_wrong_as_a_whole_has_no_field() -> None:
    class Body(BaseModel):
        name: str

    with pytest.raises(ValidationError) as caught:
        Body.model_validate([])
    assert [field["field"] for field in field_errors(caught.value)] == [""]


def test_a_frame_of_too_many_members_is_refused_without_naming_each() -> None:
    frame = {"type": "ping", "id": "1"} | {f"x{number}": 1 for number in range(31)}
    with pytest.raises(BadCommand) as caught:
        parse_command(frame)
    assert (caught.value.code, caught.value.command_id) == ("invalid", "1")
    assert [one["code"] for one in caught.value.fields] == ["too_many_members"]
    del frame["x0"]
    with pytest.raises(BadCommand) as caught:
        parse_command(frame)
    assert len(caught.value.fields) == 30
