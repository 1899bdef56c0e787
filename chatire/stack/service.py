"""What the stack runs: the database, the model and the Procfile's processes, all alike."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass

from chatire.stack.ports import LOOPBACK
from chatire.stack.process import Process

HEALTH_TIMEOUT = 3.0  # seconds for one question
RESTART_DELAY = 1.0  # seconds before a service that died is started again; doubles each time
LONGEST_RESTART_DELAY = 30.0
STEADY_SECONDS = 60.0  # that a service has to run for its earlier deaths to be forgotten


@dataclass(frozen=True)
class Health:
    """Where a service says that it is well: GET `path` on loopback `port` answers 200."""

    port: int
    path: str = "/health/"

    def answers(self) -> bool:
        """Ask once."""
        # Not urllib, which would ask a configured proxy.
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=HEALTH_TIMEOUT)
        try:
            connection.request("GET", self.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@dataclass
class Service:
    """One long-running part of the stack.

    `launch` starts it and returns its process; `stage` orders the end: lower stages stop first.
    `health` is None for what is healthy once `launch` returns.
    """

    name: str
    launch: Callable[[], Process]
    stage: int
    stop_timeout: float  # seconds
    health: Health | None = None
    process: Process | None = None
    # Whether it was ever healthy: from then on it is started again whenever it dies.
    proven: bool = False
    _started_at: float = 0.0
    _deaths: int = 0

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.running

    def start(self) -> None:
        """Start it. Raises StackError or OSError if that is impossible."""
        self._started_at = time.monotonic()
        self.process = self.launch()
        self.proven = self.proven or self.health is None

    def restart_delay(self) -> float:
        """Note a death; return after how many seconds to start it again."""
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self._deaths = 0
        delay = min(RESTART_DELAY * 2.0**self._deaths, LONGEST_RESTART_DELAY)
        # Counted no further than it makes a difference.
        if delay < LONGEST_RESTART_DELAY:
            self._deaths += 1
        return delay
