"""The database server's log, to count statements by."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from .dialects import Wrong

_OURS = ("log_statement", "pg_reload_conf", "RAISE LOG")
_PATIENCE = 10.0  # seconds


class ServerLog:
    """What the database server logs, by lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = threading.Condition()
        self.url = ""

    def add(self, line: str) -> None:
        """Take a line."""
        with self._more:
            self._lines.append(line)
            self._more.notify_all()

    @contextlib.contextmanager
    def statements(self) -> Iterator[Callable[[], list[str]]]:
        """Have all statements logged; what is given tells those since it was last asked."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            self._log(connection, "all")
            try:
                yield lambda: self._since(connection)
            finally:
                self._log(connection, "none")

    def _log(self, connection: psycopg.Connection[Any], which: str) -> None:
        """Return when the server heeds it."""
        connection.execute(f"ALTER SYSTEM SET log_statement = '{which}'")
        connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + _PATIENCE
        while connection.execute("SHOW log_statement").fetchone() != (which,):
            if time.monotonic() > deadline:
                raise Wrong("the server does not log statements")
            time.sleep(0.05)

    def _since(self, connection: psycopg.Connection[Any]) -> list[str]:
        connection.execute("DO $$ BEGIN RAISE LOG 'so far'; END $$")
        with self._more:
            if not self._more.wait_for(lambda: "LOG:  so far" in self._lines, _PATIENCE):
                raise Wrong("the server's log is late")
            end = self._lines.index("LOG:  so far")
            lines, self._lines = self._lines[:end], self._lines[end + 1 :]
        return [
            line
            for line in lines
            if line.startswith(("LOG:  statement: ", "LOG:  execute "))
            and not any(word in line for word in _OURS)
        ]
