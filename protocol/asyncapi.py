"""The AsyncAPI 3 document of the socket, made of the declarations of frames."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from protocol.commands import ErrorFrame, HeartbeatAnswer, Pong
from protocol.frames import COMMANDS, EVENTS, Command, Event, Frame
from protocol.limits import PROTOCOL, CloseCode

VERSION: Final = "3.0.0"
_REF: Final = "#/components/schemas/{model}"
# What each side sends besides commands and events.
_ANSWERS: Final[tuple[type[Frame], ...]] = (Pong, ErrorFrame)
DESCRIPTION: Final = """\
One WebSocket for everything that happens; REST, described by OpenAPI, for everything asked for. \
Commands carry an `id` and get exactly one answer with it. Events have none. Ignore events and \
fields that you do not know."""
# The ways to say who one is.
_SECURITY: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token in the Authorization header: phones, servers.",
    },
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": f"`{PROTOCOL}, bearer.<token>`: browsers, which cannot set headers.",
    },
    "query": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "For clients that can pass it nowhere else; it ends up in logs.",
    },
}


def asyncapi(*, version: str, parameters: type[BaseModel]) -> dict[str, Any]:
    """Return the document, for the version of the server that it describes.

    `parameters` is what the address of a socket may say in its query.
    """
    sent: list[type[Frame]] = [*COMMANDS.values(), HeartbeatAnswer]
    answers = dict.fromkeys([*(one.answer for one in COMMANDS.values()), *_ANSWERS])
    received: list[type[Frame]] = [*answers, *EVENTS.values()]
    return {
        "asyncapi": VERSION,
        "info": _info(version),
        "defaultContentType": "application/json",
        "servers": {"ws": _server()},
        "channels": _channels([*sent, *received], parameters),
        "operations": _operations(),
        "components": {
            "messages": {_name(frame): _message(frame) for frame in [*sent, *received]},
            "schemas": _schemas(sent, received),
            "securitySchemes": _SECURITY,
        },
    }


def _info(version: str) -> dict[str, Any]:
    return {
        "title": "Chatire",
        "version": version,
        "description": DESCRIPTION,
        "license": {"name": "MIT"},
        "x-close-codes": [
            {"code": int(code), "why": code.why, "then": code.then} for code in CloseCode
        ],
    }


def _server() -> dict[str, Any]:
    return {
        "host": "localhost:8081",
        "protocol": "ws",
        "description": "Where `GET /api/config/` says, in `ws_url`.",
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
    }


def _channels(frames: list[type[Frame]], parameters: type[BaseModel]) -> dict[str, Any]:
    messages = {_name(one): {"$ref": f"#/components/messages/{_name(one)}"} for one in frames}
    bindings = {"ws": {"method": "GET", "query": _inlined(parameters)}}
    return {
        "everything": {
            "address": "/ws/",
            "description": "Follows whatever is subscribed to.",
            "messages": messages,
            "bindings": bindings,
        },
        "conversation": {
            "address": "/ws/conversations/{conversation}/",
            "description": "Follows this conversation from the start.",
            "parameters": {"conversation": {"description": "The id of a conversation."}},
            "messages": messages,
            "bindings": bindings,
        },
    }


def _operations() -> dict[str, Any]:
    channel = {"$ref": "#/channels/everything"}
    operations: dict[str, Any] = {
        _operation(name): {
            "action": "receive",
            "channel": channel,
            "summary": _summary(command),
            "messages": [_channel_ref(command)],
            "reply": {
                "channel": channel,
                "messages": [_channel_ref(command.answer), _channel_ref(ErrorFrame)],
            },
        }
        for name, command in COMMANDS.items()
    }
    operations["answerHeartbeat"] = {
        "action": "receive",
        "channel": channel,
        "summary": _summary(HeartbeatAnswer),
        "messages": [_channel_ref(HeartbeatAnswer)],
    }
    operations["tell"] = {
        "action": "send",
        "channel": channel,
        "summary": "What the server sends unasked.",
        "messages": [_channel_ref(event) for event in EVENTS.values()],
    }
    return operations


def _operation(name: str) -> str:
    first, *others = name.split(".")
    return first + "".join(word.title() for word in others)


def _name(frame: type[BaseModel]) -> str:
    return frame.__name__


def _summary(frame: type[BaseModel]) -> str:
    return (frame.__doc__ or "").split("\n")[0]


def _channel_ref(frame: type[Frame]) -> dict[str, str]:
    return {"$ref": f"#/channels/everything/messages/{_name(frame)}"}


def _message(frame: type[Frame]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": _name(frame),
        "title": _kind(frame),
        "summary": _summary(frame),
        "payload": {"$ref": f"#/components/schemas/{_name(frame)}"},
    }
    if issubclass(frame, Event):
        message["x-numbered-by"] = frame.order.value
        message["x-when-slow"] = frame.when_slow.value
    if issubclass(frame, Command):
        message["x-rest"] = frame.rest
    return message


def _kind(frame: type[Frame]) -> str:
    (kind,) = frame.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
    return str(kind)


def _schemas(sent: list[type[Frame]], received: list[type[Frame]]) -> dict[str, Any]:
    """Return the schema of every frame and of what they are made of.

    What the server sends has every field, and may have others in a later version.
    """
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((frame, "serialization") for frame in received),
        *((frame, "validation") for frame in sent),
    ]
    _, definitions = models_json_schema(modes, ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    commands = {_name(frame) for frame in sent}
    for name, schema in schemas.items():
        if name not in commands:
            schema.pop("additionalProperties", None)
        _plain(schema)
    return schemas


def _plain(schema: Any) -> None:
    """Drop the titles that only repeat a property's name."""
    if not isinstance(schema, dict):
        return
    for field in schema.get("properties", {}).values():
        field.pop("title", None)


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return {
        "type": "object",
        "properties": {
            name: {key: value for key, value in field.items() if key != "title"}
            for name, field in schema["properties"].items()
        },
    }
