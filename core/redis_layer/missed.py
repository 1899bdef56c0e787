"""Telling whoever follows a group that something published to it was lost."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from channels_pgnotify.connection import backoff
from channels_pgnotify.errors import PublishError
from core.redis_layer.host import Host

logger = structlog.get_logger(__name__)

# The longest pause, in seconds, before it is looked whether Redis is back: until then the whole
# process publishes nothing there.
PROBE_CAP = 0.5
# Groups in one message.
CHUNK = 5_000


class Missed:
    """The groups on one host that lack a publication, until their processes have been told.

    A subscriber knows only of its own connection; that a publisher could not reach Redis, or did
    not hear that it took a message, the publisher must say. It does so as soon as Redis takes
    anything again; until then `away` is true, and nobody else should wait for it. Safe from any
    thread; holds a thread while there is something to tell.
    """

    def __init__(
        self, host: Host, channel: str, serialize: Callable[[dict[str, Any]], bytes]
    ) -> None:
        self._host = host
        self._channel = channel
        self._serialize = serialize
        self.away = False
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._failed_at = 0.0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def note(self, keys: Iterable[str]) -> None:
        """Note the Redis channels of groups for which a publication failed just now."""
        with self._lock:
            self.away = True
            self._keys.update(keys)
            self._failed_at = time.monotonic()
            self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._tell, name="redis missed", daemon=True)
            self._thread.start()

    def refuse(self, keys: Iterable[str]) -> PublishError:
        """Note that nobody tried to publish there; return what the caller is told."""
        with self._lock:
            self._keys.update(keys)
            self._failed_at = time.monotonic()
            self._start()
        return PublishError(f"{self._host.name} is away")

    def stop(self) -> None:
        """End the thread, whatever is left to tell."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._keys.clear()
            self.away = False
            self._stop.set()
        if thread is not None:
            thread.join()

    def _tell(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            if self._stop.wait(backoff(attempt, cap=PROBE_CAP)):
                return
            with self._lock:
                keys, self._keys = self._keys, set()
                failed_at = self._failed_at
            try:
                self._publish(sorted(keys), failed_at)
            except PublishError:
                with self._lock:
                    self._keys |= keys
                continue
            # First others may publish again; what they could not meanwhile is told next.
            self.away = False
            logger.info("redis_missed_told", host=self._host.name, groups=len(keys))
            with self._lock:
                if not self._keys:
                    if self._thread is threading.current_thread():
                        self._thread = None
                    return
            attempt = 0

    def _publish(self, keys: list[str], failed_at: float) -> None:
        for start in range(0, len(keys), CHUNK):
            # Not the time itself: machines' clocks differ.
            told = {"keys": keys[start : start + CHUNK], "ago": time.monotonic() - failed_at}
            self._host.publish([(self._channel, self._serialize(told))])
