"""The documents against the code: what they name exists, and what exists is named."""

import ast
import inspect
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.rest.bodies import Guest
from chat.rest.bodies import NewConversation
from chat.socket.parameters import Parameters
from protocol import limits
from protocol.commands import (
    ErrorFrame,
    NewMessage,
    Pong,
    parse_command,
)
from protocol.frames import EVENTS, Ack
from protocol.states import Changes, Snapshot

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
APPS = ("accounts", "chat", "chatire", "core", "notifications", "protocol")
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


@pytest.mark.parametrize(("answer", "frame"), [("ack", Ack), ("pong", Pong), ("error", ErrorFrame)])
def test_every_answer_is_documented_with_its_fields(answer, frame):
    assert set(frame.model_fields) - {"type"} <= names(row_of(answer, "Answers"))


def test_what_an_answer_to_subscribe_carries_is_documented():
    documented = set().union(*(names(row[0]) for row in rows(PROTOCOL)))
    assert set(Changes.model_fields) <= documented
    assert set(Snapshot.model_fields) <= names(row_of("snapshots", "Staying up to date"))


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
        (limits.MAX_TITLE, "{} characters"),
        (limits.MAX_MEMBERS, "more than {} members"),
        (limits.MAX_CHANGES, "has {} rows"),
        (limits.MAX_CHANGES_TEXT, "{:,} characters of text"),
        (limits.PAGE, "newest {} messages"),
        (limits.HEARTBEAT_SECONDS, "nothing for {} seconds"),
        (limits.HEARTBEAT_GRACE_SECONDS, "{} more seconds"),
        (limits.TOKEN_GRACE_SECONDS, "{} seconds after expiry"),
    ],
)
def test_limits_are_stated_as_they_are(limit, text):
    assert text.format(limit) in PROTOCOL


def test_examples_of_commands_are_commands():
    found = re.findall(r'\{"type": [^{}]*\}', PROTOCOL + README)
    assert len(found) > 3
    for text in found:
        frame = json.loads(text.replace("…", "0"))
        if frame in ({"type": "pong"}, {"type": "ping"}):
            continue
        if "conversation" in frame:
            frame["conversation"] = "01900000-0000-7000-8000-000000000000"
        parse_command(frame)


# --- settings.md ---------------------------------------------------------------------------

# Set by us for our own processes, not by whoever runs them.
INTERNAL = {"PATH", "MODEL_SERVER_KEY", "DJANGO_SETTINGS_MODULE"}
_READ = re.compile(r'env\.\w+\(\s*"([A-Z_]+)"|"([A-Z_]+)" in env\b')
_READ_BY_STACK = re.compile(r'environ(?:\.get\(|\[)"([A-Z_]+)"|_port\(([^)]*)\)')


def variables_read() -> set[str]:
    """Return every variable that settings, Procfile, bin/, stack and worker read."""
    settings = (ROOT / "chatire" / "settings.py").read_text()
    found = {a or b for a, b in _READ.findall(settings)}
    found |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "Procfile").read_text()))
    for path in (ROOT / "bin").iterdir():
        found |= set(re.findall(r"\$\{([A-Z_]+)", path.read_text()))
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
        *("chatire/gunicorn.py", "core/metrics.py"),  # the folder that one tells the other
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


# --- channel-layer.md ----------------------------------------------------------------------


def test_the_layers_defaults_are_stated_as_they_are():
    from channels_pgnotify import PostgresChannelLayer

    stated = {
        name: row[1].strip('`"')
        for row in rows((DOCS / "channel-layer.md").read_text())
        for name in names(row[0])
    }
    parameters = inspect.signature(PostgresChannelLayer).parameters
    for name in ("prefix", "expiry", "capacity", "group_expiry", "gap_type", "heartbeat", "shards"):
        default = parameters[name].default
        shown = "none" if default is None else f"{default:g}" if name != "prefix" else default
        assert re.match(rf"{shown}\b", stated[name]), name


# --- operations.md -------------------------------------------------------------------------


def metrics_made() -> Iterator[str]:
    """Yield every metric of the code as its row names it: `name_total{label,label}`."""
    for path in sources():
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            counter = call.func.id in {"Counter", "CounterMetricFamily"}
            if not (counter or call.func.id in {"Gauge", "Histogram"}) or len(call.args) < 2:
                continue
            name, _, *labels = map(ast.literal_eval, call.args)
            suffix = "_total" if counter else ""
            yield name + suffix + ("{" + ",".join(labels[0]) + "}" if labels else "")


def test_metrics_are_exactly_those_of_the_code_with_their_labels():
    text = section(OPERATIONS, "Metrics")
    named = [name for row in rows(text) for name in sorted(names(row[0])) if "_" in name]
    assert sorted(named) == sorted(metrics_made())


def test_log_events_that_are_named_are_logged():
    text = section(OPERATIONS, "Logs").split("Worth an alert:")[1]
    logged = {name for path in sources() for name in re.findall(r'"(\w+)"', path.read_text())}
    assert names(text) <= logged


# --- decisions.md --------------------------------------------------------------------------


def test_decisions_are_numbered_and_in_the_order_of_their_days():
    page = (DOCS / "decisions.md").read_text().split("\n## ")[0]
    begun = [paragraph for paragraph in page.split("\n\n") if paragraph.startswith("**")]
    found = [re.match(r"\*\*(\d+)\*\* · (\d{4}-\d\d-\d\d) · \*\*", each) for each in begun]
    assert all(found), begun[found.index(None)]
    assert [int(each[1]) for each in found if each] == list(range(1, len(begun) + 1))
    days = [each[2] for each in found if each]
    assert days == sorted(days)


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
def test_files_that_are_named_exist(page):
    # From the top, or from the page's own folder.
    for path in re.findall(
        r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|ts|tsx|mk|md|json|ya?ml))`", page.read_text()
    ):
        assert (ROOT / path).is_file() or (page.parent / path).is_file(), path


def is_there(name: str) -> bool:
    """Say whether a dotted name is a module, a package, or something that one of them names."""
    *above, last = name.split(".")
    whole = ROOT.joinpath(*above, last)
    if whole.with_suffix(".py").is_file() or (whole / "__init__.py").is_file():
        return True
    holders = [ROOT.joinpath(*above).with_suffix(".py"), ROOT.joinpath(*above, "__init__.py")]
    return any(re.search(rf"\b{last}\b", path.read_text()) for path in holders if path.is_file())


# A changelog also names what there was, and the page's own document its keys in local storage.
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "CHANGELOG.md" and "frontend" not in page.parts],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_modules_that_are_named_exist(page):
    ours = "|".join((*APPS, "channels_pgnotify"))
    for name in set(re.findall(rf"`((?:{ours})(?:\.\w+)+)`", page.read_text())):
        assert name in {limits.PROTOCOL, *EVENTS} or is_there(name), name


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
    Guest.model_validate(guest)
    NewConversation.model_validate(conversation)
    NewMessage.model_validate(message)
