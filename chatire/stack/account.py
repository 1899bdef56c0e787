"""Who runs PostgreSQL, which refuses to run as root, and where its files can be for that user."""

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from chatire.stack.errors import StackError
from chatire.stack.process import Account

UNPRIVILEGED = "nobody"
# For root only, where the project's own folders are closed to others (/root, say).
SYSTEM_FOLDER = Path("/var/lib/chatire")


def server_account() -> Account | None:
    """Return the user to run PostgreSQL as, or None for the user we are."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise StackError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED!r}.",
            "Run as an ordinary user.",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def can_read(account: Account | None, path: Path) -> bool:
    """Say whether `account` can reach and read `path`, asking the kernel as that user."""
    if account is None:
        return os.access(path, os.R_OK)
    completed = subprocess.run(
        ["/usr/bin/env", "test", "-r", str(path)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return completed.returncode == 0


def home_folder(state_dir: Path, name: str, account: Account | None) -> Path:
    """Return the cluster `name`'s folder: inside `state_dir` if `account` can go there."""
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    if can_read(account, state_dir):
        return state_dir / name
    digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:16]
    return SYSTEM_FOLDER / digest / name


def remove_home(home: Path) -> None:
    """Delete a cluster's folder, and the one around it in SYSTEM_FOLDER once that is empty."""
    shutil.rmtree(home, ignore_errors=True)
    if home.parent.parent == SYSTEM_FOLDER:
        with contextlib.suppress(OSError):
            home.parent.rmdir()


def reachable_copy(account: Account | None, folders: list[Path], label: str) -> Path:
    """Return a folder that holds `folders` (siblings) where `account` can read them.

    That is their own parent when it can be; else a copy, made once, named by `label` (a version).
    """
    parent = folders[0].parent
    if all(can_read(account, folder) for folder in folders):
        return parent
    copy = SYSTEM_FOLDER / label
    if not copy.is_dir():
        partial = copy.with_name(f"{label}.{os.getpid()}")
        partial.mkdir(parents=True)
        for folder in folders:
            shutil.copytree(folder, partial / folder.name)
        try:
            partial.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return copy
