"""The connection that publishes: blocking, direct on libpq, bounded in time."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import pq

from .codec import array_literal
from .connection import backoff
from .errors import NotifyQueueFull, PublishError

logger = logging.getLogger(__name__)

APPLICATION_NAME = "chatire publish"

# count() makes one row of any number of notifications.
NOTIFY = "SELECT count(pg_notify(c, p)) FROM unnest({}::text[], {}::text[]) AS t (c, p)"
_PREPARED = b"notify"

# How long one statement may take before its connection counts as dead.
STATEMENT_SECONDS = 5.0

QUEUE_FULL = "54000"  # "too many notifications in the NOTIFY queue"

Row = tuple[bytes | None, ...]


class Session:
    """One connection, made when needed and again when it breaks. Not safe to share by threads
    without a lock."""

    def __init__(self, params: Callable[[], dict[str, Any]]) -> None:
        self._params = params
        self._conn: psycopg.Connection[Any] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._conn is not None

    @property
    def descriptor(self) -> int:
        """The connection's file descriptor, or -1."""
        conn = self._conn
        return conn.pgconn.socket if conn is not None and not conn.closed else -1

    def begin_notify(self, channels: Sequence[str], payloads: Sequence[bytes]) -> bool:
        """Send the notifications' statement off without waiting for anything.

        Returns whether all of it has left. `finish_notify` must follow. Raises OperationalError if
        the connection is broken.
        """
        assert self._conn is not None
        _send_notify(self._conn.pgconn, channels, payloads)
        return not self._conn.pgconn.flush()

    def finish_notify(
        self,
        channels: Sequence[str],
        payloads: Sequence[bytes],
        deadline: float,
        *,
        begun: bool = False,
    ) -> None:
        """Have the notifications accepted; tries again until `deadline`, a time.monotonic().

        Trying again after a broken connection is safe, because notifications are numbered and a
        receiver drops what it already has. Raises PublishError.
        """
        attempt = 0
        cleared = False
        while True:
            try:
                if begun:
                    assert self._conn is not None
                    self._result(self._conn.pgconn)
                else:
                    pgconn = self._connection()
                    _send_notify(pgconn, channels, payloads)
                    self._result(pgconn)
                return
            except NotifyQueueFull:
                if cleared:
                    raise
                # A full queue stays full after its last sleeping listener has gone, since Postgres
                # clears it only while it adds to it; or when it is asked how full it is.
                cleared = True
                begun = False
                self.execute(b"SELECT pg_notification_queue_usage()", [])
            except psycopg.OperationalError as error:
                begun = False
                self.close()
                attempt += 1
                pause = backoff(attempt, cap=1.0)
                if time.monotonic() + pause > deadline:
                    raise PublishError(f"Postgres cannot be reached: {error}") from error
                if attempt > 1:
                    # The first is usually the connection that died while nothing was sent.
                    logger.warning("publishing fails, will retry: %s", error)
                time.sleep(pause)

    def execute(self, statement: bytes, params: Sequence[bytes | None]) -> list[Row]:
        """Run a statement once; its rows, as text. Raises PublishError."""
        # What must not be repeated should not be what finds out that the connection has died.
        self.heed()
        try:
            pgconn = self._connection()
            pgconn.send_query_params(statement, params)
            result = self._result(pgconn)
        except psycopg.OperationalError as error:
            self.close()
            raise PublishError(f"the connection to Postgres broke: {error}") from error
        return [
            tuple(result.get_value(row, column) for column in range(result.nfields))
            for row in range(result.ntuples)
        ]

    def close(self) -> None:
        """Close the connection; the next use makes another."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _connection(self) -> pq.abc.PGconn:
        if self._conn is None:
            self._conn = psycopg.Connection.connect(autocommit=True, **self._params())
            self._conn.add_notice_handler(_log_notice)
            self._conn.pgconn.send_prepare(_PREPARED, NOTIFY.format("$1", "$2").encode())
            self._result(self._conn.pgconn)
        return self._conn.pgconn

    def heed(self) -> None:
        """Read what came unasked, if anything did; notice that the connection is gone."""
        if self._conn is None:
            return
        poll = select.poll()
        poll.register(self._conn.pgconn.socket, select.POLLIN)
        # The server's last words come before the end itself, which another read notices.
        while self._conn is not None and poll.poll(0):
            try:
                self._conn.pgconn.consume_input()
            except psycopg.OperationalError:
                self.close()

    def _result(self, pgconn: pq.abc.PGconn) -> pq.abc.PGresult:
        """The result of what was sent; psycopg's cursors would double what it costs.

        Raises OperationalError if the connection is broken or silent, PublishError if Postgres
        refused.
        """
        deadline = time.monotonic() + STATEMENT_SECONDS
        poll = select.poll()

        def wait(events: int) -> int:
            poll.register(pgconn.socket, events)
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise psycopg.OperationalError(f"no answer in {STATEMENT_SECONDS:g} s")
            return ready[0][1]

        while pgconn.flush():
            if wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                pgconn.consume_input()
        while pgconn.is_busy():
            wait(select.POLLIN)
            pgconn.consume_input()
        result = pgconn.get_result()
        while pgconn.get_result() is not None:
            pass
        if result is None:
            raise psycopg.OperationalError("the connection was lost")
        if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            return result
        raise _failure(result)


def _send_notify(pgconn: pq.abc.PGconn, channels: Sequence[str], payloads: Sequence[bytes]) -> None:
    if len(payloads) == 1:
        # Neither planned nor executed, so a fifth cheaper. Nothing in it can need quoting: our
        # channel names are lower-case hexadecimal and payloads base64.
        pgconn.send_query(b"NOTIFY %b, '%b'" % (channels[0].encode(), payloads[0]))
        return
    literals = [array_literal(channel.encode() for channel in channels), array_literal(payloads)]
    pgconn.send_query_prepared(_PREPARED, literals)


def _log_notice(notice: psycopg.errors.Diagnostic) -> None:
    # Postgres warns here when its notification queue is more than half full.
    logger.warning("Postgres says: %s", notice.message_primary)


def _failure(result: pq.abc.PGresult) -> Exception:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = result.get_error_message()
    # 08: connection exceptions; 57P: the server shuts down or restarts; 26000: a pooler gave us a
    # server connection that has not seen our PREPARE. All go away with a new connection.
    if state.startswith(("08", "57P")) or state == "26000" or not state:
        return psycopg.OperationalError(message)
    if state == QUEUE_FULL:
        return NotifyQueueFull(message)
    return PublishError(message)
