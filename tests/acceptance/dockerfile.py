"""Carries out docker/Dockerfile without a container engine, as far as a bare machine can.

Each stage is a folder that stands for the root of its file system. COPY takes what
docker/Dockerfile.dockerignore lets through of what git knows. RUN is run, but with the packages
that are here already: pip is asked for a dry run without an index, which fails if what is
installed is not what is pinned; `npm ci` becomes a link to what it installed in the checkout. FROM,
USER and EXPOSE need an engine and are passed over, and so is `useradd`, which would change this
machine.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from chatire.stack import bootstrap
from tests.deployment import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
IGNORED = ROOT / "docker" / "Dockerfile.dockerignore"
PASSED_OVER = {"USER", "EXPOSE"}


@dataclass
class Image:
    """A stage: its folder, where it is in it, and what it starts."""

    root: Path
    workdir: PurePosixPath = field(default_factory=lambda: PurePosixPath("/"))
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def path(self, place: str) -> Path:
        """Return the folder or file that a path of the image is."""
        return self.root / str(self.workdir / place).lstrip("/")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions with their arguments."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines]


def context() -> list[str]:
    """Return the paths that the build is given: the last pattern that fits a path decides."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    rules = [
        (line.startswith("!"), _pattern(line.lstrip("!")))
        for line in IGNORED.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return [path for path in listed if (ROOT / path).is_file() and _given(path, rules)]


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*)", text)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def _given(path: str, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    places = [path, *(str(above) for above in PurePosixPath(path).parents)]
    given = True
    for includes, pattern in rules:
        if any(pattern.fullmatch(place) for place in places):
            given = includes
    return given


def build(folder: Path, path: str) -> Image:
    """Carry out the Dockerfile in `folder`, finding programs on `path`; return the last stage."""
    stages: dict[str, Image] = {}
    image = Image(folder)
    for name, argument in instructions(DOCKERFILE.read_text()):
        match name:
            case "FROM":
                _, _, alias = argument.partition(" AS ")
                alias = alias or "last"
                image = stages[alias] = Image(folder / alias)
                image.root.mkdir()
            case "WORKDIR":
                image.workdir /= argument
                image.path("").mkdir(parents=True, exist_ok=True)
            case "ENV":
                image.env |= dict(each.split("=", 1) for each in shlex.split(argument))
            case "COPY":
                _copy(image, argument.split(), stages)
            case "RUN":
                _run(image, argument, path)
            case "ENTRYPOINT":
                image.entrypoint = json.loads(argument)
            case "CMD":
                image.command = json.loads(argument)
            case _:
                assert name in PASSED_OVER, f"{name} is new in the Dockerfile: say what it does"
    return image


def _copy(image: Image, arguments: list[str], stages: dict[str, Image]) -> None:
    stage = arguments.pop(0).removeprefix("--from=") if arguments[0].startswith("--from=") else ""
    *sources, target = arguments
    for source in sources:
        if stage:
            shutil.copytree(stages[stage].path(source), image.path(target), dirs_exist_ok=True)
            continue
        inside = PurePosixPath(source)
        found = [path for path in context() if PurePosixPath(path).is_relative_to(inside)]
        assert found, f"The build is not given {source}"
        for path in found:
            # What a folder holds is copied, not the folder; a file keeps its name.
            relative = PurePosixPath(path).relative_to(inside)
            relative = PurePosixPath(inside.name) if str(relative) == "." else relative
            copied = image.path(target) / relative
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copied)


def _run(image: Image, command: str, path: str) -> None:
    if command.startswith("useradd "):
        return
    if command.startswith("npm ci"):
        assert bootstrap._node_modules_fit(), "frontend/node_modules is not what is pinned"
        image.path("node_modules").symlink_to(ROOT / "frontend" / "node_modules")
        return
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=image.path(""),
        env={
            "PATH": path,
            "HOME": os.environ.get("HOME", "/"),
            "PIP_NO_INDEX": "1",
            "PIP_DRY_RUN": "1",
            **image.env,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"
    if command.startswith("pip install "):
        assert "Would install" not in done.stdout, done.stdout
