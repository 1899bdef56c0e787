"""TCP ports on this machine: which are free, and who has those that are not."""

import errno
import random
import socket

import psutil

from chatire.stack.errors import StackError

LOOPBACK = "127.0.0.1"
# Below those that systems give to outgoing connections (Linux from 32768, others from 49152): a
# server takes a second to start, and one of those could be gone by then.
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """Return a loopback port that nothing uses now. Raises StackError if there seems to be none."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise StackError("No port is free on this machine.", "Stop some of what listens on it.")


def require_free(port: int, *, user: str, variable: str, host: str = LOOPBACK) -> None:
    """Raise StackError, naming who has it, if a server could not listen on `host`:`port` now.

    `user` is what wants the port; `variable`, the environment variable that chooses another.
    """
    with socket.socket() as probe:
        # As servers do: a connection of the last run in TIME_WAIT does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                cause = f"Port {port}, wanted by {user}, is taken{_owner(port)}."
            else:
                cause = f"{user} cannot listen on {host}:{port}: {error.strerror}."
            raise StackError(
                cause, f"Choose another port ({variable}={port + 100} make up) or stop what has it."
            ) from error


def _owner(port: int) -> str:
    """Return " by NAME (pid N)", or nothing where the system does not tell us."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            if connection.pid is None:
                return ""
            try:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return ""
    return ""
