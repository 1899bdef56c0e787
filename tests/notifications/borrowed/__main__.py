"""Fetches django-notifs' own tests into .chatire/borrowed/ and runs them here.

They are in its repository only, not in what it publishes. The commit's id is that of its contents,
so what comes is what is meant. Without a way there and without that copy they are skipped.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = "https://github.com/danidee10/django-notifs"
COMMIT = "0d0b271d55911248daa59ec154abd2ee348d80f1"  # v4.0.0
TESTS = ("notifications/tests/test_backends.py", "notifications/tests/test_general.py")
FOLDER = Path(".chatire/borrowed") / f"django-notifs-{COMMIT[:12]}"
SECONDS = 60
HERE = Path(__file__).parent


def fetch() -> str:
    """Have the tests in FOLDER; return why that cannot be, or nothing."""
    if all((FOLDER / path).exists() for path in TESTS):
        return ""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        _git("init", "--quiet", "--bare", "repository")
        _git("-C", "repository", "fetch", "--quiet", "--depth=1", REPOSITORY, COMMIT)
        for path in TESTS:
            target = FOLDER / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_git("-C", "repository", "show", f"{COMMIT}:{path}"))
    except FileNotFoundError:
        return "there is no git"
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    except subprocess.CalledProcessError as error:
        return str(error.stderr.decode(errors="replace").strip()[-300:])
    return ""


def _git(*arguments: str) -> bytes:
    # Where a name and password would be asked for, there is nobody to answer.
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", *arguments],
        cwd=FOLDER,
        env=environment,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    return done.stdout


def main() -> int:
    reason = fetch()
    if reason:
        print(f"The tests of django-notifs are skipped, since they cannot be fetched: {reason}")
        return 0
    os.environ["BORROWED"] = str((FOLDER / "notifications").absolute())
    return int(
        pytest.main(["-q", "-rsxf", "-p", "no:randomly", *sys.argv[1:], str(HERE / "theirs.py")])
    )


if __name__ == "__main__":
    sys.exit(main())
