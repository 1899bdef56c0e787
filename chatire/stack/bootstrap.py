"""Makes the checkout runnable: .venv, the pinned packages, the built single-page application.

    python3 chatire/stack/bootstrap.py [dev] [frontend]

Run as a file by any Python, before there is an environment: standard library only. Does nothing,
and needs no network, when nothing has changed. `dev` adds what tests and checks need; `frontend`
builds the page, with Node.js from the system or, if that is missing or old, from a wheel.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

MINIMUM = (3, 11)
if sys.version_info[:2] < MINIMUM:
    for minor in range(14, 10, -1):
        newer = shutil.which("python3.%d" % minor)  # noqa: UP031
        if newer:
            os.execv(newer, [newer, *sys.argv])
    sys.exit(
        "Chatire needs Python 3.11 or newer; this is %d.%d. Install one, or name it: "  # noqa: UP031
        "make up PYTHON=/path/to/python3.12" % sys.version_info[:2]
    )

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
BIN = VENV / "bin"
FRONTEND = ROOT / "frontend"
# The oldest Node.js that the page's build tool runs on.
MINIMUM_NODE = (22, 12)
NEEDED_BYTES = 2_000_000_000  # packages and their download cache

RUNTIME = ["requirements.txt", "requirements-embedded.txt"]
DEV = ["requirements-dev.txt"]
NODE = ["requirements-node.txt"]


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


def fail(cause: str, remedy: str) -> None:
    """Exit with a one-line cause and what to do."""
    sys.exit(f"{cause}\n{remedy}")


# --- Python ----------------------------------------------------------------------------------


def make_environment() -> None:
    """Make .venv if it is missing or cannot run."""
    python = BIN / "python"
    if python.exists() and (VENV / "pyvenv.cfg").exists():
        probe = subprocess.run([python, "-c", "import pip"], capture_output=True, check=False)
        if probe.returncode == 0:
            return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        fail(
            f"{sys.executable} cannot make virtual environments: its venv module is missing.",
            "Install it (Debian, Ubuntu: apt-get install python3-venv) and try again.",
        )
    say("Making .venv …")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        words = (made.stderr or made.stdout).strip().splitlines() or ["it gave no reason"]
        shutil.rmtree(VENV, ignore_errors=True)
        fail(f"Making .venv failed: {words[-1]}", "Free disk space, or check the Python install.")


def install(files: list[str]) -> None:
    """Install those of the requirements files that changed since they were last installed."""
    stale = [name for name in files if not _stamp_fits(name)]
    if not stale:
        return
    make_environment()
    names: set[str] = set()
    for name in stale:
        pins = re.findall(r"^([A-Za-z0-9][\w.-]*)==", (ROOT / name).read_text(), re.MULTILINE)
        names.update(pin.lower() for pin in pins)
    say(f"Installing {len(names)} pinned packages ({', '.join(stale)}) …")
    command = [
        *(str(BIN / "python"), "-m", "pip", "install", "--no-deps", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar", "off"),
    ]
    for name in stale:
        command += ["-r", name]
    _run_pip(command, len(names))
    for name in stale:
        _stamp(name).write_text(_stamp_value(name))


def _run_pip(command: list[str], total: int) -> None:
    """Run pip, showing how far it is."""
    log = VENV / "pip.log"
    seen = 0
    with log.open("w") as kept:
        pip = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert pip.stdout is not None
        for line in pip.stdout:
            kept.write(line)
            if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ")):
                seen = min(seen + 1, total)
                _show_progress(seen, total)
            elif line.startswith("Installing collected packages"):
                say(f"  unpacking {line.count(',') + 1} …")
        status = pip.wait()
    if status != 0:
        errors = [line for line in log.read_text().splitlines() if line.startswith("ERROR:")]
        cause = errors[-1].removeprefix("ERROR: ") if errors else f"pip exited with {status}"
        fail(
            f"Installing packages failed: {cause}",
            f"Check the network and free disk space; pip's words are in {log}.",
        )


def _show_progress(seen: int, total: int) -> None:
    if sys.stdout.isatty():
        print(f"\r  {seen} of {total}", end="" if seen < total else "\n", flush=True)
    elif seen % 20 == 0 or seen == total:
        say(f"  {seen} of {total}")


def _stamp(name: str) -> Path:
    return VENV / f".installed-{name}"


def _stamp_value(name: str) -> str:
    return _digest([ROOT / name]) + f" {sys.version_info[0]}.{sys.version_info[1]}"


def _stamp_fits(name: str) -> bool:
    try:
        return _stamp(name).read_text() == _stamp_value(name)
    except FileNotFoundError:
        return False


# --- The page --------------------------------------------------------------------------------


def build_frontend() -> None:
    """Install the page's packages and build it into frontend/dist, where something changed."""
    sources = sorted(_frontend_sources())
    stamp = FRONTEND / "node_modules" / ".built"
    digest = _digest(sources)
    built = stamp.exists() and stamp.read_text() == digest
    if built and (FRONTEND / "dist" / "index.html").exists():
        return
    environment = node_environment()
    if not _node_modules_fit():
        say("Installing the page's packages (npm ci) …")
        _npm(["ci", "--no-audit", "--no-fund"], environment)
    say("Building the page (npm run build) …")
    _npm(["run", "--silent", "build"], environment)
    stamp.write_text(digest)


def node_environment() -> dict[str, str]:
    """Return the environment in which `npm` and a Node.js that is new enough are found."""
    if not _system_node_fits():
        install(NODE)
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _system_node_fits() -> bool:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.(\d+)", told.stdout)
    return match is not None and (int(match[1]), int(match[2])) >= MINIMUM_NODE


def _frontend_sources() -> Iterable[Path]:
    for folder, folders, files in os.walk(FRONTEND):
        folders[:] = [name for name in folders if name not in {"node_modules", "dist", "tests"}]
        yield from (Path(folder, name) for name in files)


def _node_modules_fit() -> bool:
    """Say whether node_modules holds what package-lock.json asks for."""
    try:
        wanted = json.loads((FRONTEND / "package-lock.json").read_text())["packages"]
        # npm's own record of what it installed, written last.
        record = FRONTEND / "node_modules" / ".package-lock.json"
        have = json.loads(record.read_text())["packages"]
    except FileNotFoundError:
        return False
    return all(
        have.get(path, {}).get("version") == package.get("version")
        for path, package in wanted.items()
        if path and not package.get("optional")  # those are for other platforms
    )


def _npm(arguments: list[str], environment: dict[str, str]) -> None:
    npm = shutil.which("npm", path=environment["PATH"]) or "npm"
    status = subprocess.run([npm, *arguments], cwd=FRONTEND, env=environment, check=False)
    if status.returncode != 0:
        fail(
            f"npm {' '.join(arguments)} failed in frontend/ (its words are above).",
            "Check the network and free disk space, then try again.",
        )


# --- Both ------------------------------------------------------------------------------------


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def main(parts: list[str]) -> None:
    """Prepare the runtime and the named parts."""
    unknown = set(parts) - {"dev", "frontend"}
    if unknown:
        sys.exit(f"usage: bootstrap.py [dev] [frontend], not {min(unknown)}")
    wanted = RUNTIME + (DEV if "dev" in parts else [])
    if any(not _stamp_fits(name) for name in wanted):
        free = shutil.disk_usage(ROOT).free
        if free < NEEDED_BYTES:
            fail(
                f"Only {free // 10**6} MB are free in {ROOT}; "
                f"installing needs {NEEDED_BYTES // 10**6} MB.",
                "Free some disk space and try again.",
            )
    install(wanted)
    if "frontend" in parts:
        build_frontend()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"{error.strerror}: {error.filename}")
