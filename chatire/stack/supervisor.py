"""Runs services side by side: prints their output, restarts what dies, stops all in order.

Honcho's manager stops everything at once and knows no health; its printer and Procfile parser
serve here.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from chatire.stack.errors import StackError
from chatire.stack.process import Process
from chatire.stack.service import Service

OURS = "chatire"
HEALTHY_WITHIN = 90.0  # seconds
HEALTH_INTERVAL = 0.1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """We were asked to stop."""


class Supervisor:
    """The loop that everything else reports to. One per process, in its main thread.

    Threads that read output or wait for exits put what happens on one queue; only `_pump`, in
    the main thread, acts on it.
    """

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self.services: list[Service] = []
        self._events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._printer = Printer(output, width=len("database"))
        self._colours = get_colours()
        self._colour_of: dict[str, str] = {}
        self._stopping = False
        self._interrupted = False
        self._restart_at: dict[str, float] = {}

    # --- For those who set the stack up ---------------------------------------------------------

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn SIGINT, SIGTERM and SIGHUP into Interrupted; a second one kills everything."""
        before = {
            number: signal.signal(number, self._on_signal)
            for number in ENDING
            # nohup's wish is respected.
            if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self._print(OURS, text)

    def printing(self, name: str) -> Callable[[str], None]:
        """Return what to call, from any thread, with each line that `name` puts out."""
        return lambda line: self._events.put(("line", name, line))

    def exited(self, process: Process) -> None:
        """Take note, from any thread, that a process exited."""
        self._events.put(("exit", process))

    def start(self, service: Service) -> None:
        """Start a service. Raises StackError if it cannot be."""
        self.check()
        self.services.append(service)
        service.start()

    def run(self, name: str, command: list[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Run a command to its end, showing its output. Raises StackError if it fails."""
        process = Process(name, command, env=env, cwd=cwd, on_line=self.printing(name))
        process.start()
        try:
            while process.running:
                self._pump(0.05)
        finally:
            process.stop(timeout=5)
        self.check()
        ending = process.explain_exit()
        if ending != "exited with status 0":
            raise StackError(f"{name} {ending}", "Its own words are above.")

    def wait_until_healthy(self) -> None:
        """Wait until every service has been well; what dies after that is restarted.

        Raises StackError if one dies before, or takes longer than HEALTHY_WITHIN seconds.
        """
        waited_for = [service for service in self.services if not service.proven]
        over = threading.Event()

        def ask() -> None:
            pending = list(waited_for)
            while pending:
                for service in list(pending):
                    if service.health is None or service.health.answers():
                        pending.remove(service)
                        self._events.put(("healthy", service))
                if over.wait(HEALTH_INTERVAL):
                    return

        threading.Thread(target=ask, name="health", daemon=True).start()
        deadline = time.monotonic() + HEALTHY_WITHIN
        try:
            while pending := sorted(s.name for s in waited_for if not s.proven):
                if time.monotonic() > deadline:
                    raise StackError(
                        f"Not healthy after {HEALTHY_WITHIN:.0f} s: {', '.join(pending)}.",
                        "Its own words are above.",
                    )
                self._pump(0.2)
                self._restart()
        finally:
            over.set()

    def watch(self) -> None:
        """Print and restart until asked to stop (Interrupted)."""
        while True:
            self._pump(0.5)
            self._restart()

    def check(self) -> None:
        """Act on whatever is waiting. Raises Interrupted or StackError."""
        self._pump(0)

    def stop(self) -> None:
        """Stop everything, stage by stage, each bounded in time; leaves no process."""
        self._stopping = True
        for stage in sorted({service.stage for service in self.services}):
            running = [s for s in self.services if s.stage == stage and s.running]
            if not running:
                continue
            self.say(f"Stopping {', '.join(service.name for service in running)}")
            began = time.monotonic()
            for service in running:
                assert service.process is not None
                service.process.terminate()
            while running:
                self._pump(0.1)
                for service in [s for s in running if not s.running]:
                    running.remove(service)
                for service in running:
                    if time.monotonic() > began + service.stop_timeout:
                        self.say(f"{service.name} does not stop; killing it")
                        assert service.process is not None
                        service.process.kill()
        self._pump(0)

    # --- The loop -------------------------------------------------------------------------------

    def _pump(self, wait: float) -> None:
        """Handle events for up to `wait` seconds, or those there are."""
        deadline = time.monotonic() + wait
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            match event:
                case ("line", name, line):
                    self._print(name, line)
                case ("healthy", service):
                    service.proven = True
                case ("exit", process):
                    self._handle_exit(process)
                case ("wake",):
                    break
        if self._interrupted and not self._stopping:
            raise Interrupted

    def _handle_exit(self, process: Process) -> None:
        service = next((s for s in self.services if s.process is process), None)
        if service is None or self._stopping:
            return
        ending = f"{service.name} {process.explain_exit()}"
        if not service.proven:
            raise StackError(ending, "Its own words are above.")
        self._schedule_restart(service, ending)

    def _schedule_restart(self, service: Service, why: str) -> None:
        delay = service.restart_delay()
        self.say(f"{why}; starting it again in {delay:.0f} s")
        self._restart_at[service.name] = time.monotonic() + delay

    def _restart(self) -> None:
        """Start again what is due. What cannot be started now is tried again later."""
        now = time.monotonic()
        for service in self.services:
            if self._restart_at.get(service.name, now + 1) > now:
                continue
            del self._restart_at[service.name]
            self.say(f"Starting {service.name} again")
            try:
                service.start()
            except (StackError, OSError) as error:
                self._schedule_restart(service, f"{service.name} cannot be started: {error}")

    def _on_signal(self, number: int, _: object) -> None:
        if self._interrupted:
            # Asked twice. Also the way out if the main thread is stuck.
            for service in self.services:
                if service.process is not None:
                    service.process.kill()
            os._exit(128 + number)
        self._interrupted = True
        self._events.put(("wake",))

    def _print(self, name: str, text: str) -> None:
        if name not in self._colour_of:
            self._colour_of[name] = next(self._colours)
        message = Message("line", text, datetime.now().astimezone(), name, self._colour_of[name])
        # Whoever read our output may be gone; that must not keep us from stopping.
        with contextlib.suppress(OSError, ValueError):
            self._printer.write(message)
