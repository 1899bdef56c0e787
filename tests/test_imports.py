"""Imports go downward only. Read from the source, nothing is imported to find out.

Each module belongs to a part, and each part states which other parts it may import. A new module
that is in none fails the first test: give it its place here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = (
    "accounts",
    "channels_pgnotify",
    "chat",
    "chatire",
    "core",
    "notifications",
    "protocol",
    "tests",
    "bench",
)
# Parts that do without Django, so that they can be read, tested and used anywhere.
WITHOUT_DJANGO = ("protocol", "llm", "history", "stack")
DJANGO = {"django", "rest_framework", "channels", "procrastinate"}

# part: its modules; a package stands for all that is in it, unless another part names a piece.
PARTS = {
    # What everyone may use, and the wiring that no one may.
    "common": {
        *("core", "chatire", "chatire.environment", "core.errors", "core.groups", "core.health"),
        *("core.jobs", "core.metrics", "core.tuning", "core.columns"),
        *("chatire.logs", "core.parsers", "core.rest", "core.schema", "core.threads"),
    },
    "layers": {"channels_pgnotify"},
    "stack": {"chatire.stack"},
    "wiring": {
        *("chatire.apps", "chatire.asgi", "chatire.gunicorn", "chatire.lifespan"),
        *("chatire.pages", "chatire.routing"),
        *("chatire.settings", "chatire.urls", "chatire.websocket", "chatire.wsgi", "manage"),
        *("chatire.management", "chatire.migrations"),
    },
    "socket_auth": {"chat.socket.auth"},
    "accounts_models": {"accounts", "accounts.models", "accounts.errors", "accounts.signals"},
    "accounts_selectors": {"accounts.selectors", "accounts.tokens"},
    "accounts_services": {"accounts.services"},
    "accounts_authentication": {
        *("accounts.authentication", "accounts.backends", "accounts.rest.schema", "accounts.apps"),
    },
    "accounts_http": {"accounts.rest.views", "accounts.rest.bodies", "accounts.rest.urls"},
    "accounts_worker": {"accounts.tasks"},
    "accounts_admin": {"accounts.admin"},
    "accounts_migrations": {"accounts.migrations"},
    "notifications_models": {
        *("notifications", "notifications.models", "notifications.default_settings"),
    },
    "notifications_events": {"notifications.events"},
    "notifications_selectors": {"notifications.selectors"},
    # The classes one extends to add a channel: their face is django-notifs' own.
    "notifications_channels": {"notifications.channels", "notifications.providers"},
    "notifications_services": {"notifications.services"},
    "notifications_backends": {"notifications.backends"},
    "notifications_face": {"notifications.utils"},
    "notifications_http": {
        *("notifications.rest.views", "notifications.rest.bodies", "notifications.rest.urls"),
        "notifications.rest.pagination",
    },
    "notifications_worker": {"notifications.tasks", "notifications.apps"},
    "notifications_admin": {"notifications.admin"},
    "notifications_migrations": {"notifications.migrations"},
    "protocol": {"chat", "protocol"},
    "llm": {"chat.llm"},
    "history": {"chat.replies.history"},
    "models": {"chat.models"},
    "states": {"chat.states"},
    "events": {"chat.events"},
    "selectors": {"chat.selectors"},
    "touches": {"chat.unread"},
    "services": {"chat.services"},
    "socket": {
        *(
            "chat.socket.consumer",
            "chat.socket.handlers",
            "chat.socket.send_queue",
            "chat.socket.parameters",
            "chat.socket.routing",
        ),
        "chat.socket.subscriptions",
        "chat.socket.registry",
    },
    "http": {"chat.rest.views", "chat.rest.bodies", "chat.rest.urls", "chat.rest.pagination"},
    "worker": {"chat.tasks", "chat.replies.titles", "chat.replies", "chatire.worker"},
    "admin": {"chat.admin"},
    "commands": {"chatire.management", "chat.apps"},
    "migrations": {"chat.migrations"},
    "tests": {"tests"},
    "bench": {"bench"},
}

_ACCOUNTS = {"common", "accounts_models", "accounts_selectors"}
_NOTIFICATIONS = {
    *("common", "accounts_models", "notifications_models", "notifications_events"),
    *("notifications_selectors", "notifications_channels"),
}
# What every edge of the chat stands on.
_CHAT = {
    *("common", "accounts_models", "protocol", "models", "states", "events", "selectors"),
    "services",
}
ALLOWED: dict[str, set[str]] = {
    "common": set(),
    "layers": set(),
    "stack": set(),
    "socket_auth": {*_ACCOUNTS, "protocol"},
    "accounts_models": {"common"},
    "accounts_selectors": {"common", "accounts_models"},
    "accounts_services": _ACCOUNTS,
    "accounts_authentication": _ACCOUNTS,
    "accounts_http": {*_ACCOUNTS, "accounts_services"},
    "accounts_worker": {*_ACCOUNTS, "accounts_services"},
    "accounts_admin": {*_ACCOUNTS, "accounts_services"},
    "accounts_migrations": {"accounts_models"},
    "notifications_models": set(),
    "notifications_events": {"common"},
    "notifications_selectors": {"common", "accounts_models", "notifications_models"},
    "notifications_channels": _NOTIFICATIONS,
    "notifications_services": _NOTIFICATIONS,
    "notifications_backends": {*_NOTIFICATIONS, "notifications_services"},
    "notifications_face": {*_NOTIFICATIONS, "notifications_services"},
    "notifications_http": {*_NOTIFICATIONS, "notifications_services"},
    "notifications_worker": {*_NOTIFICATIONS, "notifications_services"},
    "notifications_admin": {*_NOTIFICATIONS, "notifications_services"},
    "notifications_migrations": {"notifications_models"},
    "protocol": set(),
    "llm": set(),
    "history": {"llm"},
    "models": set(),
    "states": {"accounts_models", "models", "protocol"},
    "events": {"common", "protocol"},
    "selectors": {"common", "accounts_models", "models", "states", "protocol"},
    "touches": {"events", "protocol", "selectors", "layers"},
    "services": {
        *("common", "accounts_models", "protocol", "models", "states", "events", "selectors"),
        *("touches", "notifications_services"),
    },
    # The layer's connections are made the same way by the worker's.
    "worker": {*_CHAT, "llm", "history", "touches", "layers", "accounts_services"},
    "socket": {*_CHAT, "socket_auth", "layers"},
    "http": _CHAT,
    "admin": _CHAT,
    # `manage.py worker` is where the worker starts; the app connects signals.
    "commands": {*_CHAT, "worker"},
    "migrations": {"models"},
    # Wiring puts everything together; nothing imports it.
    "wiring": {*_CHAT, "touches", "socket", "socket_auth", "common"},
    "tests": set(PARTS),
    "bench": set(PARTS),
}


class Import(NamedTuple):
    """`importer` imports `imported` on this line; both are modules."""

    importer: str
    imported: str
    line: int


def _sources() -> Iterator[tuple[str, Path]]:
    for top in (*PROJECT, "manage.py"):
        found = (ROOT / top).rglob("*.py") if (ROOT / top).is_dir() else [ROOT / top]
        for path in found:
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


SOURCES = dict(_sources())


def _imports(module: str) -> Iterator[Import]:
    path = SOURCES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                # `from package import module`, or `from module import name`.
                whole = f"{base}.{alias.name}"
                yield Import(module, whole if whole in SOURCES else base, node.lineno)


IMPORTS = [found for module in SOURCES for found in _imports(module)]


def part_of(module: str) -> str | None:
    """Return the part that names the module, or the nearest package around it."""
    prefix = module
    while prefix:
        for part, modules in PARTS.items():
            # An app's own name stands for its __init__ only, not for whatever is in it.
            if prefix in modules and (prefix == module or prefix not in _BARE):
                return part
        prefix = prefix.rpartition(".")[0]
    return None


_BARE = {"accounts", "chat", "chatire", "notifications"}


def test_every_module_has_its_place():
    assert [module for module in SOURCES if part_of(module) is None] == []


def test_every_place_has_its_module():
    # chat.admin and such may come; what is gone is taken off the list.
    known = set(SOURCES)
    named = {module for modules in PARTS.values() for module in modules}
    missing = {name for name in named - known if not (ROOT / name.replace(".", "/")).is_dir()}
    assert missing <= {"chat.admin"}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_part_imports_only_what_is_below_it(part: str) -> None:
    upward = [
        f"{found.importer}:{found.line} imports {found.imported} ({below})"
        for found in IMPORTS
        if part_of(found.importer) == part
        and found.imported.split(".")[0] in PROJECT
        and (below := part_of(found.imported)) != part
        and below not in ALLOWED[part]
    ]
    assert upward == []


@pytest.mark.parametrize("part", WITHOUT_DJANGO)
def test_a_pure_part_imports_no_django(part: str) -> None:
    tied = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in IMPORTS
        if part_of(found.importer) == part
        and found.imported.split(".")[0]
        in {"django", "rest_framework", "channels", "procrastinate"}
    ]
    assert tied == []


def test_the_parts_form_no_circle():
    left = {part: set(below) - {part} for part, below in ALLOWED.items()}
    del left["tests"], left["bench"]
    while left:
        bottom = {part for part, below in left.items() if not below & set(left)}
        assert bottom, f"these import one another: {sorted(left)}"
        left = {part: below for part, below in left.items() if part not in bottom}


def test_a_forbidden_import_is_seen():
    assert part_of("chat.socket.consumer") == "socket"
    assert part_of("chat.replies.runner") == "worker"
    assert "worker" not in ALLOWED["socket"]
    assert Import("chat.socket.consumer", "chat.socket.handlers", 0)[:2] in {
        found[:2] for found in IMPORTS
    }
    # Relative ones too, and modules imported from their package.
    assert ("channels_pgnotify.core", "channels_pgnotify.listener") in {
        found[:2] for found in IMPORTS
    }
    assert ("chat.socket.handlers", "chat.events") in {found[:2] for found in IMPORTS}
