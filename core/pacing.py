"""Work that is asked for often and done seldom: by a key, one call at a time, with pauses."""

import os
import threading
import time
from collections.abc import Callable
from uuid import UUID

import structlog
from django.db import close_old_connections, connection
from django.db.utils import Error as DatabaseError

from channels_pgnotify.errors import PublishError

logger = structlog.get_logger(__name__)


class Paced:
    """Calls `act(key)` soon after it is asked for, in one thread per process.

    Requests for a key that waits are one. `act` returns after how many seconds it is to be called
    again, 0 if it need not be. A call that the database refuses is dropped and logged: whoever
    uses this also has something durable to find what was missed.
    """

    def __init__(self, name: str, act: Callable[[UUID], float]) -> None:
        self._name = name
        self._act = act
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._due: dict[UUID, float] = {}
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._stopping = False

    def soon(self, key: UUID) -> None:
        """Let the key's turn come as soon as it may."""
        with self._lock:
            if self._pid != os.getpid():
                # A forked process inherits what waits, but not the thread.
                self._due, self._pid, self._thread = {}, os.getpid(), None
            self._due.setdefault(key, time.monotonic())
            if self._thread is None or not self._thread.is_alive():
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """End the thread and close its connection; the next request starts another."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            self._stopping = True
            self._wake.set()
            thread.join(5)
        with self._lock:
            self._due, self._thread = {}, None

    def _run(self) -> None:
        while not self._stopping:
            ready, wait = self._take()
            for key in ready:
                self._call(key)
            if not ready:
                self._wake.wait(wait)
                self._wake.clear()
        connection.close()

    def _take(self) -> tuple[list[UUID], float | None]:
        now = time.monotonic()
        with self._lock:
            ready = [key for key, due in self._due.items() if due <= now]
            for key in ready:
                del self._due[key]
            wait = min(self._due.values()) - now if self._due else None
        return ready, wait

    def _call(self, key: UUID) -> None:
        close_old_connections()
        try:
            again = self._act(key)
        except (DatabaseError, PublishError) as error:
            logger.warning("paced_call_lost", name=self._name, error=type(error).__name__)
            connection.close()
            return
        if again:
            with self._lock:
                # Over a request that came meanwhile: the pause holds for that one, too.
                self._due[key] = time.monotonic() + again
