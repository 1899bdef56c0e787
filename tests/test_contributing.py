"""What is written for who comes next, against the tree: files, names, layers, versions, YAML."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from core.version import VERSION
from tests.test_imports import MODULE_FLOORS, PACKAGE_FLOORS

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
TREE = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
# How many files a reader opens from one end of a flow to the other.
MOST_STOPS = 16


def section(page: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def items(text: str) -> Iterator[str]:
    """Each item of the lists in a text, on one line."""
    for item in re.findall(r"^(?:-|\d+\.) (.+(?:\n  +.+)*)", text, re.MULTILINE):
        yield " ".join(item.split())


def spans(text: str) -> list[str]:
    """What stands between backticks, less what is to be typed."""
    return [span for span in re.findall(r"`([^`]+)`", text) if not span.startswith("make ")]


def file_of(span: str) -> Path | None:
    """The file that a span names: by its path, or, in the page, by a name that only one has.

    None if it names none. Fails if it names one that is not there.
    """
    if re.fullmatch(r"[\w.]+\.tsx", span):
        found = [path for path in TREE if path.endswith(f"/{span}")]
        assert len(found) == 1, f"{span} is {found or 'not there'}"
        return ROOT / found[0]
    if "/" not in span:
        return None
    assert (ROOT / span).is_file(), f"{span} is not there"
    return ROOT / span


def require_true(item: str) -> None:
    """Fail unless an item's files are there, and its names in one of them."""
    named = spans(item)
    files = [file for file in map(file_of, named) if file is not None]
    assert files, f"no file is named: {item}"
    texts = [file.read_text(encoding="utf-8") for file in files]
    for name in named:
        if file_of(name) is None:
            whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
            assert any(whole.search(text) for text in texts), f"{name} is not there: {item}"


RECIPES = list(items(section(CONTRIBUTING, "Recipes")))
FLOWS = ("From a POST to another screen", "From a token to a frame")


@pytest.mark.parametrize("item", RECIPES, ids=lambda item: item.split("`")[1])
def test_a_recipe_names_files_and_names_that_are_there(item: str) -> None:
    require_true(item)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_leads_through_files_and_names_that_are_there(flow: str) -> None:
    for item in items(section(ARCHITECTURE, flow)):
        require_true(item)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_counts_its_stops_and_has_few(flow: str) -> None:
    numbers = re.findall(r"^(\d+)\. ", section(ARCHITECTURE, flow), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert 0 < len(numbers) <= MOST_STOPS


def test_layers_are_in_the_order_that_imports_are_held_to() -> None:
    packages, modules = (
        [line.split()[0] for line in block.strip().splitlines()]
        for block in re.findall(
            r"```\n(.*?)```", section(ARCHITECTURE, "The layers of the tree"), re.DOTALL
        )
    )
    there = {name for name in PACKAGE_FLOORS if (ROOT / name).is_dir()}
    assert set(packages) == there
    assert packages == sorted(packages, key=lambda name: -PACKAGE_FLOORS[name])
    assert modules == sorted(modules, key=lambda name: -MODULE_FLOORS[name])


def test_an_item_that_names_what_is_not_there_is_found_out() -> None:
    require_true("`core/version.py`: the `VERSION`")
    for item in ("`core/versions.py`: it", "`core/version.py`: the `RELEASE`", "`Nowhere.tsx`: it"):
        with pytest.raises(AssertionError, match="not there"):
            require_true(item)


def test_the_newest_version_of_the_changelog_is_the_one_that_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.findall(r"^## (\S+) – \d{4}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)[0]
    assert newest == VERSION == project["version"]


@pytest.mark.parametrize("path", [path for path in TREE if path.endswith((".yaml", ".yml"))])
def test_yaml_is_yaml(path: str) -> None:
    assert yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_container_for_editors_installs_by_a_make_target() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"].startswith("make test ")


def test_hooks_run_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [repository] = hooks["repos"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [parts] = re.findall(r"^check: (.+?) +##", makefile, re.MULTILINE)
    assert [hook["entry"] for hook in repository["hooks"]] == [
        f"make {part}" for part in parts.split()
    ]


def test_the_workflow_runs_the_script_that_is_run_by_hand() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    [job] = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}
