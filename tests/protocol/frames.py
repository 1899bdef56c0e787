"""Whether a frame that a test saw on a socket is one that the documents promise."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from protocol.commands import ErrorFrame, Pong
from protocol.errors import ErrorCode
from protocol.events import Hello
from protocol.frames import COMMANDS, EVENTS, Ack, Frame

# The committed one, so that clients without Django can check what they hear.
_DOCUMENT = Path(__file__).resolve().parents[2] / "frontend" / "asyncapi.json"
_ACKS = [one.answer for one in COMMANDS.values() if issubclass(one.answer, Ack)]
_ANSWERS: dict[str, list[type[Frame]]] = {"ack": _ACKS, "pong": [Pong], "error": [ErrorFrame]}
_PROBLEM = {"field": str, "code": str, "message": str}
assert Hello in EVENTS.values()


def require_promised(frame: dict[str, Any]) -> None:
    """Fail unless a frame from the server is as the AsyncAPI document says, and says no more."""
    if frame["type"] == "error":
        require_error(frame)
    assert frame["type"] in _ANSWERS or frame["type"] in EVENTS, f"no {frame['type']} is declared"
    candidates = _ANSWERS.get(frame["type"]) or [EVENTS[frame["type"]]]
    fitting = [one for one in candidates if set(frame) <= set(one.model_fields)]
    assert fitting, f"no {frame['type']} has the fields {sorted(frame)}"
    problems = [_problems(one, frame) for one in fitting]
    assert [] in problems, f"{frame['type']} is not as documented: {problems[0]}"


def require_error(error: dict[str, Any]) -> None:
    """Fail unless an error's code is documented, and one that is `invalid` says what is."""
    assert error["code"] in list(ErrorCode), f"{error['code']} is not documented"
    if error["code"] == ErrorCode.INVALID:
        fields = error["details"]["fields"]
        assert fields, "nothing is named as invalid"
        for field in fields:
            assert {name: type(value) for name, value in field.items()} == _PROBLEM


def _problems(declaration: type[Frame], frame: dict[str, Any]) -> list[str]:
    found = [error.message for error in _validator(declaration.__name__).iter_errors(frame)]
    try:
        # The document lets a later server say more; this one says what it declares.
        declaration.model_validate_json(json.dumps(frame))
    except ValueError as error:
        found.append(str(error))
    return found


@cache
def _validator(name: str) -> Draft202012Validator:
    document = json.loads(_DOCUMENT.read_text(encoding="utf-8"))
    return Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
