"""Runs a command, such as pytest, against a throwaway PostgreSQL.

    python -m chatire.stack.testing pytest -x

DATABASE_URL, when set, is used as it is. Otherwise the cluster in .chatire/test-postgres serves,
made once and kept; a second run at the same time gets a cluster of its own, deleted at its end.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chatire.stack.environment import state_folder
from chatire.stack.errors import StackError
from chatire.stack.postgres import EmbeddedPostgres, StackInUse

NAME = "test-postgres"


@contextmanager
def test_database() -> Iterator[str]:
    """Give the URL of a PostgreSQL to test on. Raises StackError if there is none to be had."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    postgres = EmbeddedPostgres(state_folder(), name=NAME, durable=False)
    try:
        postgres.start()
    except StackInUse:
        spare = EmbeddedPostgres(state_folder(), name=f"{NAME}-{os.getpid()}", durable=False)
        try:
            yield spare.start()
        finally:
            spare.destroy()
        return
    try:
        yield postgres.url
    finally:
        postgres.stop()


def run(command: Sequence[str]) -> int:
    """Run `command` with DATABASE_URL set; return its exit status, 128 + N if signal N ended it."""
    with test_database() as url:
        child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url})

        def pass_on(number: int, _: object) -> None:
            child.send_signal(number)

        # A terminal's Ctrl-C reaches the child by itself; we wait for how it takes it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, pass_on)
        status = child.wait()
    return status if status >= 0 else 128 - status


def main() -> None:
    """Run the command line's command."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m chatire.stack.testing COMMAND...")
    try:
        sys.exit(run(sys.argv[1:]))
    except StackError as error:
        sys.exit(f"{error} {error.remedy}".strip())


if __name__ == "__main__":
    main()
