"""The documents against the code: what they name exists, and what exists is named."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from accounts.serializers import GuestSerializer
from chat import protocol
from chat.parameters import Parameters
from chat.serializers import NewConversation, NewMessage

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
APPS = ("accounts", "chat", "chatire", "notifications")
PROTOCOL = (DOCS / "protocol.md").read_text()
SETTINGS = (DOCS / "settings.md").read_text()
OPERATIONS = (DOCS / "operations.md").read_text()
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
)


def frames(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield every frame class below `base` that has a type of its own."""
    for frame in base.__subclasses__():
        yield from frames(frame)
        if get_args(frame.model_fields["type"].annotation):
            yield frame


def frame_type(frame: type[BaseModel]) -> str:
    """Return the `type` that a frame has on the wire."""
    return str(get_args(frame.model_fields["type"].annotation)[0])


def rows(page: str) -> list[list[str]]:
    """Return the cells of every row of a page's tables."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]


def names(text: str) -> set[str]:
    """Return what stands between backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def sources() -> Iterator[Path]:
    """Yield the project's own modules."""
    for app in APPS:
        yield from (ROOT / app).rglob("*.py")


# --- protocol.md ---------------------------------------------------------------------------


def section(page: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    return page.split(f"## {heading}\n")[1].split("\n## ")[0]


def row_of(name: str, heading: str) -> str:
    """Return the rest of the row under a heading that documents a name."""
    table = rows(section(PROTOCOL, heading))
    found = [" ".join(row[1:]) for row in table if name in names(row[0])]
    assert len(found) == 1, f"{name} has {len(found)} rows under {heading}"
    return found[0]


@pytest.mark.parametrize("frame", list(frames(protocol.Command)), ids=frame_type)
def test_every_command_is_documented_with_its_fields(frame):
    assert set(frame.model_fields) - {"type", "id"} <= names(row_of(frame_type(frame), "Commands"))


@pytest.mark.parametrize("frame", list(frames(protocol.Event)), ids=frame_type)
def test_every_event_is_documented_with_its_fields(frame):
    assert set(frame.model_fields) - {"type"} <= names(row_of(frame_type(frame), "Events"))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("subscribe", protocol.SubscribeAck),
        ("message.send", protocol.SendMessageAck),
        ("message.edit", protocol.SendMessageAck),
        ("reply.stop", protocol.MessageAck),
        ("reply.continue", protocol.MessageAck),
        ("reply.regenerate", protocol.MessageAck),
        ("auth", protocol.AuthAck),
        ("ack", protocol.Ack),
        ("pong", protocol.Pong),
        ("error", protocol.ErrorFrame),
    ],
)
def test_every_answer_is_documented_with_its_fields(command, answer):
    expected = set(answer.model_fields) - {"type"} - ({"id"} if command != "ack" else set())
    heading = "Answers" if command in {"ack", "pong", "error"} else "Commands"
    assert expected <= names(row_of(command, heading))


def test_what_an_answer_to_subscribe_carries_is_documented():
    documented = set().union(*(names(row[0]) for row in rows(PROTOCOL)))
    assert set(protocol.Changes.model_fields) <= documented
    assert set(protocol.Snapshot.model_fields) <= names(row_of("snapshots", "Staying up to date"))


def test_every_frame_that_is_documented_exists():
    known = {
        frame_type(frame) for base in (protocol.Command, protocol.Event) for frame in frames(base)
    }
    known |= {"ack", "error", "pong"}
    for heading in ("Commands", "Answers", "Events"):
        documented = {
            name for row in rows(section(PROTOCOL, heading))[2:] for name in names(row[0])
        }
        assert documented <= known, heading


def test_close_codes_are_exactly_those_of_the_code():
    text = section(PROTOCOL, "Close codes")
    documented = {int(row[0]) for row in rows(text)[2:]}
    assert documented == {int(code) for code in protocol.CloseCode}


def test_every_parameter_is_documented_with_its_alias():
    text = section(PROTOCOL, "Connecting")
    documented = set().union(*(names(row[0]) | names(row[1]) for row in rows(text)))
    accepted = {
        str(choice)
        for name, field in Parameters.model_fields.items()
        for choice in (getattr(field.validation_alias, "choices", None) or [name])
    }
    assert accepted <= documented


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (protocol.MAX_FRAME_BYTES, "{:,} bytes"),
        (protocol.MAX_CONTENT, "{:,} characters"),
        (protocol.MAX_TITLE, "{} characters"),
        (protocol.MAX_SUBSCRIPTIONS, "| {} |"),
        (protocol.MAX_WAITING_COMMANDS, "| {} |"),
        (protocol.FRAMES_PER_SECOND, "{:.0f} a second"),
        (protocol.FRAMES_BURST, "{} in a burst"),
        (protocol.MAX_CHANGES, "| {}, and"),
        (protocol.MAX_CHANGES_TEXT, "{:,} characters of text"),
        (protocol.PAGE, "newest {} messages"),
        (protocol.HEARTBEAT_SECONDS, "nothing for {} seconds"),
        (protocol.HEARTBEAT_GRACE_SECONDS, "{} more seconds"),
        (protocol.TOKEN_GRACE_SECONDS, "{} seconds after expiry"),
    ],
)
def test_limits_are_stated_as_they_are(limit, text):
    assert text.format(limit) in PROTOCOL


def test_every_error_code_is_documented():
    raised = set()
    for path in sources():
        text = path.read_text()
        raised |= set(re.findall(r'^    code = "(\w+)"', text, re.MULTILINE))
        raised |= {
            a or b for a, b in re.findall(r'(?<!_)error_code="(\w+)"|CannotAsk\("(\w+)"\)', text)
        }
    text = section(PROTOCOL, "Error codes")
    assert raised - names(text) == set()


def test_examples_of_commands_are_commands():
    found = re.findall(r'\{"type": [^{}]*\}', PROTOCOL + README)
    assert len(found) > 3
    for text in found:
        frame = json.loads(text.replace("…", "0"))
        if frame in ({"type": "pong"}, {"type": "ping"}):
            continue
        if "conversation" in frame:
            frame["conversation"] = "01900000-0000-7000-8000-000000000000"
        protocol.parse_command(frame)


# --- settings.md ---------------------------------------------------------------------------

# Set by us for our own processes, not by whoever runs them.
INTERNAL = {"PATH", "MODEL_SERVER_KEY", "DJANGO_SETTINGS_MODULE"}
_READ = re.compile(r'env\.\w+\(\s*"([A-Z_]+)"|"([A-Z_]+)" in env\b')
_READ_BY_STACK = re.compile(r'environ(?:\.get\(|\[)"([A-Z_]+)"|_port\(([^)]*)\)')


def variables_read() -> set[str]:
    """Return every variable that the settings, the Procfile, the stack and the worker read."""
    settings = (ROOT / "chatire" / "settings.py").read_text()
    found = {a or b for a, b in _READ.findall(settings)}
    found |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "Procfile").read_text()))
    for path in (ROOT / "chatire" / "stack").glob("*.py"):
        for name, ports in _READ_BY_STACK.findall(path.read_text()):
            found |= {name} if name else set(re.findall(r'"([A-Z_]+)"', ports))
    found |= set(re.findall(r'or "([A-Z_]+)"', (ROOT / "chat/replies/prompt.py").read_text()))
    return found - INTERNAL


def documented() -> dict[str, list[str]]:
    """Return each documented variable's row."""
    return {
        name: row for row in rows(SETTINGS) for name in names(row[0]) if re.match(r"[A-Z_]+$", name)
    }


def test_every_variable_that_is_read_is_documented_and_no_other():
    assert variables_read() == set(documented())


def test_no_other_module_reads_the_environment():
    # Settings are read in one place, so that they are checked at the start.
    readers = {
        str(path.relative_to(ROOT)).replace("\\", "/")
        for path in sources()
        if "environ"
        in {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        and "stack" not in path.parts
    }
    assert readers <= {
        "chatire/settings.py",
        "chatire/asgi.py",
        "chatire/wsgi.py",
        "chat/replies/prompt.py",  # keys, by the name that an assistant gives
        "chatire/environment.py",
        *("chatire/gunicorn.py", "chatire/metrics.py"),  # the folder that one tells the other
        "chatire/management/commands/doctor.py",
    }


def test_defaults_are_stated_as_they_are():
    text = (ROOT / "chatire" / "settings.py").read_text()
    numbers = re.findall(r'env\.(?:whole|number)\(\s*"([A-Z_]+)", default=([\d.]+)', text)
    others = re.findall(r'env\.(?:text|rate|email|level)\(\s*"([A-Z_]+)", default="([^"]+)"', text)
    switches = re.findall(r'env\.switch\("([A-Z_]+)", default=(\w+)', text)
    procfile = re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", (ROOT / "Procfile").read_text())
    assert len(numbers) > 10
    stated = documented()
    for name, default in [*numbers, *others, *switches, *procfile]:
        plain = default.lower() if (name, default) in switches else default.removesuffix(".0")
        if (name, default) in procfile:
            plain = default
        assert stated[name][1].strip("`").startswith(plain), name


def test_the_example_file_names_only_what_there_is():
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) <= set(documented())


# --- operations.md -------------------------------------------------------------------------


def metrics_made() -> Iterator[str]:
    """Yield every metric of the code as its row names it: `name_total{label,label}`."""
    for path in sources():
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            if call.func.id not in {"Counter", "Gauge", "Histogram"} or len(call.args) < 2:
                continue
            name, _, *labels = map(ast.literal_eval, call.args)
            suffix = "_total" if call.func.id == "Counter" else ""
            yield name + suffix + ("{" + ",".join(labels[0]) + "}" if labels else "")


def test_metrics_are_exactly_those_of_the_code_with_their_labels():
    text = section(OPERATIONS, "Metrics")
    named = [name for row in rows(text) for name in sorted(names(row[0])) if "_" in name]
    assert sorted(named) == sorted(metrics_made())


def test_log_events_that_are_named_are_logged():
    text = section(OPERATIONS, "Logs").split("Worth an alert:")[1]
    logged = {name for path in sources() for name in re.findall(r'"(\w+)"', path.read_text())}
    assert names(text) <= logged


# --- All pages -----------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(page):
    made = "".join(
        path.read_text()
        for path in [ROOT / "Makefile", *ROOT.glob("bench/*.mk"), *ROOT.glob("tests/*/*.mk")]
    )
    targets = set(re.findall(r"^([a-z-]+):", made, re.MULTILINE))
    asked = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert asked - targets == set()


def test_bodies_in_the_readme_are_what_the_api_takes(db: Any) -> None:
    guest, conversation, message = map(json.loads, re.findall(r"-d '(\{.*?\})'", README))
    assert GuestSerializer(data=guest).is_valid(raise_exception=True)
    NewConversation.model_validate(conversation)
    NewMessage.model_validate(message)
