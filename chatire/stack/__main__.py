"""`python -m chatire.stack up`, `run COMMAND...` (in what runs now) and `reset`."""

import json
import os
import sys

from chatire.stack.account import home_folder, remove_home, server_account
from chatire.stack.environment import load_env_file, state_folder
from chatire.stack.errors import StackError
from chatire.stack.lock import FolderLock
from chatire.stack.up import ENVIRONMENT_FILE, KEPT_FILES, up

USAGE = "usage: python -m chatire.stack up | run COMMAND... | reset"


def run(command: list[str]) -> None:
    """Become `command`, with the environment of the stack that runs now. Raises StackError."""
    path = state_folder() / ENVIRONMENT_FILE
    try:
        environment = json.loads(path.read_text())
    except FileNotFoundError:
        raise StackError("Chatire is not running here.", "Start it first: make up") from None
    os.execvpe(command[0], command, environment)


def reset() -> None:
    """Delete the embedded databases and all else that the stack keeps. Raises StackError."""
    folder = state_folder()
    if not folder.is_dir():
        return
    lock = FolderLock(folder)
    holder = lock.acquire()
    if holder is not None:
        raise StackError(f"Chatire is running (pid {holder}).", "Stop it first.")
    # By name: CHATIRE_STATE_DIR may hold things of others.
    databases = home_folder(folder, "postgres", server_account()).parent
    for path in [*databases.glob("test-postgres*"), databases / "postgres"]:
        remove_home(path)
    for name in KEPT_FILES:
        (folder / name).unlink(missing_ok=True)
    lock.release()


def main() -> None:
    """Run the command line."""
    match sys.argv[1:]:
        case ["up"]:
            sys.exit(up())
        case ["run", *command] if command:
            pass
        case ["reset"]:
            command = []
        case _:
            sys.exit(USAGE)
    try:
        load_env_file()
        if command:
            run(command)
        else:
            reset()
    except StackError as error:
        sys.exit(f"{error}\n{error.remedy}".strip())


if __name__ == "__main__":
    main()
