"""Imports go downward only. Read from the source, nothing is imported to find out.

The tree says the architecture, so the tables are short: a name in a row may import from the rows
below it and from nothing beside or above it. A module that is in no row fails; give it its place.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The packages, from the top.
PACKAGES = [
    "",
    "bench",
    "tests",
    "chatire manage",
    "chat",
    "tools files usage",
    "notifications",
    "accounts",
    "core",
    "protocol",
    "channels_pgnotify",
    "",
]
# What an app is made of, from the top; one name means one thing in all of them.
MODULES = [
    "",
    "admin apps backends migrations rest socket tasks utils",
    "replies authentication",
    "services",
    "change channels",
    "feed unread providers",
    "selectors",
    "states tokens permissions",
    "models llm errors signals default_settings",
    "",
]
APPS = ("chat", "tools", "files", "usage", "notifications", "accounts")
# What does without Django, so that it can be read, tested and used anywhere.
WITHOUT_DJANGO = ("protocol", "chat.llm", "chat.replies.history", "chatire.stack")
DJANGO = {"django", "rest_framework", "channels", "procrastinate"}


class Import(NamedTuple):
    """`importer` imports `imported` on this line; both are modules."""

    importer: str
    imported: str
    line: int


def _floors(rows: list[str]) -> dict[str, int]:
    return {name: -floor for floor, row in enumerate(rows) for name in row.split()}


PACKAGE_FLOORS = _floors(PACKAGES)
MODULE_FLOORS = _floors(MODULES)


def _sources() -> Iterator[tuple[str, Path]]:
    for top in PACKAGE_FLOORS:
        folder = ROOT / top
        for path in folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]:
            if path.exists():
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


SOURCES = dict(_sources())


def imports_of(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import in `source`, relative ones too, by the module that it reads."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
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


IMPORTS = [
    found
    for module, path in SOURCES.items()
    for found in imports_of(
        module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py"
    )
]


def is_downward(importer: str, imported: str) -> bool:
    """Say whether a module may import another; anything not ours may be imported by all."""
    (top, *inside), (other, *below) = importer.split("."), imported.split(".")
    if other not in PACKAGE_FLOORS:
        return True
    if top == other:
        # An app's own name is its face, which knows nothing of its modules.
        if top not in APPS or not below or (inside and inside[0] == below[0]):
            return True
        return bool(inside) and MODULE_FLOORS[inside[0]] > MODULE_FLOORS[below[0]]
    return PACKAGE_FLOORS[top] > PACKAGE_FLOORS[other]


def test_every_module_has_its_place():
    placed = {module for module in SOURCES if module.split(".")[0] in APPS}
    unplaced = {name for module in placed for name in module.split(".")[1:2]} - set(MODULE_FLOORS)
    assert unplaced == set()


@pytest.mark.parametrize("top", sorted({module.split(".")[0] for module in SOURCES}))
def test_a_package_imports_only_what_is_below_it(top: str) -> None:
    upward = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in IMPORTS
        if found.importer.split(".")[0] == top and not is_downward(found.importer, found.imported)
    ]
    assert upward == []


@pytest.mark.parametrize("part", WITHOUT_DJANGO)
def test_a_pure_part_imports_no_django(part: str) -> None:
    tied = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in IMPORTS
        if f"{found.importer}.".startswith(f"{part}.") and found.imported.split(".")[0] in DJANGO
    ]
    assert tied == []


def test_the_channel_layer_knows_nothing_of_ours():
    ours = set(PACKAGE_FLOORS) - {"channels_pgnotify"}
    assert not [
        found
        for found in IMPORTS
        if found.importer.startswith("channels_pgnotify") and found.imported.split(".")[0] in ours
    ]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core.errors", "accounts.models"),
        ("chat.services.messages", "chatire.settings"),
        ("chat.models", "chat.states"),
        ("chat.rest.messages", "chat.socket.consumer"),
        ("chat.selectors.sync", "chat.services.messages"),
        ("notifications", "notifications.models"),
    ],
)
def test_an_import_upward_or_beside_is_seen(importer: str, imported: str) -> None:
    assert not is_downward(importer, imported)


def test_relative_imports_are_read_too():
    source = "from .listener import Listener\nfrom . import session\n"
    found = {one.imported for one in imports_of("channels_pgnotify.core", source)}
    assert found == {"channels_pgnotify.listener", "channels_pgnotify.session"}
