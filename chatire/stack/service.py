"""What the stack runs: the database, the model and the Procfile's processes, all alike."""

import http.client
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chatire.stack.ports import LOOPBACK
from chatire.stack.process import Process

HEALTH_TIMEOUT = 3.0  # seconds for one question
RESTARTS = 3  # of one service, within
RESTART_WINDOW = 60.0  # seconds


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
    exits: deque[float] = field(default_factory=deque)

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.running

    def may_restart(self) -> bool:
        """Note an exit; say whether there have been few enough lately to start it again."""
        now = time.monotonic()
        self.exits.append(now)
        while self.exits and self.exits[0] < now - RESTART_WINDOW:
            self.exits.popleft()
        return len(self.exits) <= RESTARTS
