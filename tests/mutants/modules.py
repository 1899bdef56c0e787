"""What is mutated, in the groups of the report, and the suites that must notice.

The one place to change when a module moves. A pattern that fits no file stops the run.
"""

from collections.abc import Iterator
from pathlib import Path

GROUPS = {
    "membership filters and services": [
        "chat/services/**/*.py",
        "chat/selectors/**/*.py",
        "chat/states.py",
        "chat/change/*.py",
        "chat/unread.py",
    ],
    "replies": ["chat/replies/*.py"],
    "socket": [
        "chat/socket/*.py",
        "core/commits.py",
        "core/errors.py",
        "core/jobs.py",
        "core/publishing.py",
        "core/threads.py",
    ],
    "protocol": ["protocol/*.py"],
    "layer": ["channels_pgnotify/*.py"],
    "accounts": [
        "accounts/services/*.py",
        "accounts/selectors.py",
        "accounts/tokens.py",
        "accounts/authentication.py",
        "accounts/backends.py",
    ],
    "notifications": [
        "notifications/services/*.py",
        "notifications/selectors.py",
        "notifications/states.py",
        "notifications/channels.py",
        "notifications/providers.py",
        "notifications/tasks.py",
    ],
}
# The page's, which frontend/scripts/mutants.mjs mutates.
CLIENT = "client"

# Not those that start a whole stack, a browser or the fault run.
SUITES = [
    *("tests/accounts", "tests/chat", "tests/chatire", "tests/core"),
    *("tests/channels_pgnotify", "tests/notifications", "tests/protocol"),
]
# The tests of other projects have runners of their own.
NOT_SUITES = ["tests/channels_pgnotify/borrowed", "tests/notifications/borrowed"]


def modules(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (group, path) of every module to mutate. Raises LookupError for a stale pattern."""
    for group, patterns in GROUPS.items():
        for pattern in patterns:
            paths = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
            if not paths:
                raise LookupError(f"{pattern} fits no file: mend tests/mutants/modules.py")
            yield from ((group, path) for path in paths)


def test_files(root: Path) -> list[str]:
    """Return the paths of the suites' test files."""
    paths = (path for suite in SUITES for path in (root / suite).rglob("test_*.py"))
    names = (path.relative_to(root).as_posix() for path in paths)
    return sorted(name for name in names if not name.startswith(tuple(NOT_SUITES)))
