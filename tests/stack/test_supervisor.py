"""Side by side: restarted when they die, stopped in order, given up on in one line."""

import io
import os
import re
import sys
import threading
import time

import pytest

from chatire.stack import service as module
from chatire.stack.errors import StackError
from chatire.stack.ports import free_port
from chatire.stack.process import Process
from chatire.stack.service import Health, Service
from chatire.stack.supervisor import Interrupted, Supervisor

DEADLINE = 20.0  # seconds

# Answers every GET with 200, and says so when asked to stop.
HEALTHY = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
def stop(*_):
    print("stopping", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("serving", flush=True)
server.serve_forever()
"""


class Stage:
    """A supervisor whose output is kept, and services for it."""

    def __init__(self) -> None:
        self.output = io.StringIO()
        self.supervisor = Supervisor(self.output)

    def service(self, name: str, *command: str, stage: int = 0, port: int | None = None) -> Service:
        def launch() -> Process:
            process = Process(
                name,
                command,
                env=dict(os.environ),
                cwd="/",
                on_line=self.supervisor.printing(name),
                on_exit=self.supervisor.exited,
            )
            process.start()
            return process

        health = Health(port) if port else None
        made = Service(name, launch, stage, stop_timeout=5.0, health=health)
        self.supervisor.start(made)
        return made

    def healthy(self, name: str, stage: int = 0) -> Service:
        port = free_port()
        return self.service(name, sys.executable, "-c", HEALTHY, str(port), stage=stage, port=port)

    def wait_for(self, line: str) -> None:
        """Wait until the line was printed; fail after DEADLINE."""
        deadline = time.monotonic() + DEADLINE
        while line not in self.lines:
            assert time.monotonic() < deadline
            self.supervisor._pump(0.05)

    @property
    def lines(self) -> list[str]:
        """What was printed, without the time."""
        return [
            re.sub(r"\s+\|", ":", line.split(" ", 1)[1])
            for line in self.output.getvalue().splitlines()
        ]


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.supervisor.stop()


def watch_until(stage: Stage, happened) -> None:
    """Let the supervisor watch until `happened()`; fail after DEADLINE."""
    over = threading.Event()

    def interrupt() -> None:
        deadline = time.monotonic() + DEADLINE
        while not (happened() or over.wait(0.05) or time.monotonic() > deadline):
            pass
        stage.supervisor._interrupted = True
        stage.supervisor._events.put(("wake",))

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Interrupted):
            stage.supervisor.watch()
    finally:
        over.set()
        thread.join()
    assert happened()


def test_output_is_labelled(stage):
    stage.healthy("web")
    stage.supervisor.wait_until_healthy()
    assert "web: serving" in stage.lines


def test_users_stop_before_what_they_use(stage):
    stage.healthy("database", stage=2)
    stage.healthy("web", stage=0)
    stage.supervisor.wait_until_healthy()
    stage.supervisor.stop()
    stopping = [line for line in stage.lines if line.endswith(": stopping")]
    assert stopping == ["web: stopping", "database: stopping"]
    assert not any(service.running for service in stage.supervisor.services)


def test_service_that_will_not_stop_is_killed(stage):
    service = stage.service(
        "stuck", "sh", "-c", "trap '' TERM; echo on; while :; do sleep 60; done"
    )
    service.stop_timeout = 0.2
    stage.wait_for("stuck: on")
    stage.supervisor.stop()
    assert not service.running
    assert "chatire: stuck does not stop; killing it" in stage.lines


def test_death_before_all_are_healthy_ends_the_start_with_its_cause(stage):
    stage.healthy("web")
    stage.service("worker", "sh", "-c", "echo no such table; exit 1", port=free_port())
    with pytest.raises(StackError, match=r"^worker exited with status 1: no such table$"):
        stage.supervisor.wait_until_healthy()


def test_service_that_dies_later_is_started_again(stage, monkeypatch):
    monkeypatch.setattr(module, "RESTART_DELAY", 0.0)
    service = stage.healthy("web")
    stage.supervisor.wait_until_healthy()
    first = service.process
    first.kill()
    watch_until(stage, lambda: service.process is not first and service.health.answers())
    assert (
        "chatire: web was killed by SIGKILL (out of memory?); starting it again in 0 s"
        in stage.lines
    )
    assert "chatire: Starting web again" in stage.lines


def test_service_that_dies_again_and_again_is_never_given_up(stage, monkeypatch):
    monkeypatch.setattr(module, "RESTART_DELAY", 0.0)
    web = stage.healthy("web")
    stage.supervisor.wait_until_healthy()
    stage.service("worker", "sh", "-c", "echo broken; exit 1")
    watch_until(stage, lambda: stage.lines.count("chatire: Starting worker again") > 9)
    assert "chatire: worker exited with status 1: broken; starting it again in 0 s" in stage.lines
    assert web.health.answers()


def test_each_death_doubles_the_wait_up_to_a_limit(monkeypatch):
    service = Service("web", lambda: pytest.fail("not yet"), 0, stop_timeout=5.0)
    service._started_at = time.monotonic()
    assert [service.restart_delay() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert {service.restart_delay() for _ in range(2000)} == {30}
    # It has run for long since.
    monkeypatch.setattr(module, "STEADY_SECONDS", -1.0)
    assert service.restart_delay() == 1


def test_service_that_cannot_be_started_again_is_tried_once_more(stage, monkeypatch):
    monkeypatch.setattr(module, "RESTART_DELAY", 0.0)
    service = stage.healthy("database")
    stage.supervisor.wait_until_healthy()
    launch, first = service.launch, service.process

    def fail_once() -> Process:
        service.launch = launch
        raise StackError("the disk is full")

    service.launch = fail_once
    first.kill()
    watch_until(stage, lambda: service.process is not first and service.health.answers())
    assert (
        "chatire: database cannot be started: the disk is full; starting it again in 0 s"
        in stage.lines
    )


def test_death_of_one_that_was_healthy_does_not_end_the_start_of_others(
    stage, monkeypatch, tmp_path
):
    monkeypatch.setattr(module, "RESTART_DELAY", 0.0)
    web = stage.healthy("web")
    port, gate = free_port(), tmp_path / "gate"
    waits = 'until [ -e "$0" ]; do sleep 0.05; done; exec "$@"'
    command = (sys.executable, "-c", HEALTHY, str(port))
    slow = stage.service("slow", "sh", "-c", waits, str(gate), *command, port=port)

    def kill_web() -> None:
        deadline = time.monotonic() + DEADLINE
        while not web.proven and time.monotonic() < deadline:
            time.sleep(0.01)
        first = web.process
        first.kill()
        while web.process is first and time.monotonic() < deadline:
            time.sleep(0.01)
        gate.touch()

    thread = threading.Thread(target=kill_web)
    thread.start()
    stage.supervisor.wait_until_healthy()
    thread.join()
    assert web.running
    assert slow.proven


def test_failing_step_is_reported_with_its_last_words(stage, tmp_path):
    with pytest.raises(StackError, match=r"^release exited with status 1: wrong password$"):
        stage.supervisor.run(
            "release", ["sh", "-c", "echo wrong password; exit 1"], env={}, cwd=tmp_path
        )
    assert "release: wrong password" in stage.lines


def test_output_that_nobody_reads_does_not_keep_it_from_stopping():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    supervisor = Supervisor(Closed())
    supervisor.say("to no one")
    supervisor.stop()
