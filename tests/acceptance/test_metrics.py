"""Metrics of the real processes: where they are, where they are not, and that they add up."""

import signal
import time
import urllib.error
import urllib.request

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.client import person
from tests.acceptance.stack import Stack
from tests.fakes.script import directive

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

DEADLINE = 30.0  # seconds
CONFIG = {"method": "GET", "route": "/api/config/", "status": "200"}


def read(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a process says at `/metrics`: each sample's value by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(port: int, name: str, **labels: str) -> float:
    return read(port).get((name, frozenset(labels.items())), 0.0)


def ask_config(stack: Stack, times: int) -> None:
    for _ in range(times):
        with urllib.request.urlopen(f"{stack.url}/api/config/", timeout=10) as answer:
            assert answer.status == 200


async def test_each_process_counts_its_part_of_a_reply(stack: Stack) -> None:
    worker = int(stack["worker"].health.split(":")[2].split("/")[0])
    ports = {"web": stack.metrics_port, "ws": stack.ws_port, "worker": worker}
    route = "/api/conversations/<uuid:conversation_id>/messages/"
    posted = {"method": "POST", "route": route, "status": "201"}
    before = {name: read(port) for name, port in ports.items()}

    async with person(stack) as guest, guest.device() as browser:
        chat = await guest.open_chat(kind="assistant", title="Counted")
        await browser.follow(chat)
        sent = await guest.say(chat, f"Go {directive(tokens=20, seed=3)}")
        await browser.finished(chat, sent["reply"]["id"])
        assert value(ports["ws"], "chatire_sockets_open") >= 1

    def grown(process: str, name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return read(ports[process]).get(key, 0.0) - before[process].get(key, 0.0)

    assert grown("web", "chatire_requests_total", **posted) == 1
    # The message, and the reply that waits.
    assert grown("web", "chatire_events_total", event="message.created") == 2
    assert grown("web", "chatire_database_statements_total", kind="other") > 5
    assert grown("ws", "chatire_socket_frames_total") > 5
    assert grown("worker", "chatire_replies_total", status="complete") == 1


def test_the_public_port_of_web_shows_no_metrics(stack: Stack) -> None:
    for path in ("/metrics", "/metrics/"):
        request = urllib.request.Request(
            f"{stack.url}{path}", headers={"Host": f"127.0.0.1:{stack.metrics_port}"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 404
        refused.value.close()


def test_counters_of_web_are_those_of_all_its_processes_and_outlive_them(stack: Stack) -> None:
    def children() -> set[int]:
        return {child.pid for child in psutil.Process(stack["web"].pid).children()}

    before = value(stack.metrics_port, "chatire_requests_total", **CONFIG)
    ask_config(stack, 40)
    assert value(stack.metrics_port, "chatire_requests_total", **CONFIG) == before + 40

    began_with = children()
    victim = min(began_with)
    psutil.Process(victim).send_signal(signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE
    while len(children() - {victim}) < len(began_with) or victim in children():
        assert time.monotonic() < deadline, stack["web"].tail()
        time.sleep(0.05)
    stack["web"].wait_healthy()

    ask_config(stack, 40)
    assert value(stack.metrics_port, "chatire_requests_total", **CONFIG) == before + 80
    assert value(stack.metrics_port, "chatire_requests_active") == 0
