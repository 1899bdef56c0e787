"""docs/deployment.md carried out: its image, its variables, PgBouncer, and each of its proxies."""

import contextlib
import os
import re
import secrets
import shlex
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from chatire.stack.ports import free_port
from tests.acceptance import dockerfile
from tests.acceptance.client import person
from tests.acceptance.pooler import through
from tests.acceptance.proxies import NAME, PROXIES, Proxy, certificate, program
from tests.acceptance.stack import Database, Stack, procfile
from tests.deployment import HOST, ROOT, environment, substitute
from tests.fakes.openai_server import RunningServer
from tests.fakes.script import directive
from tests.fakes.text import expected_text

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> dockerfile.Image:
    """What the Dockerfile makes."""
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    return dockerfile.build(tmp_path_factory.mktemp("image"), path)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def deployed(
    image: dockerfile.Image,
    pooler: str,
    paced_model: RunningServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The image's processes with the documented variables, after its `release`."""
    database = Database(os.environ["DATABASE_URL"])
    database.create()
    documented = environment()
    del documented["DATABASE_URL"]
    documented |= {  # the page's placeholders
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": substitute(documented["ALLOWED_HOSTS"], {HOST: NAME}),
        "WS_PUBLIC_URL": substitute(documented["WS_PUBLIC_URL"], {HOST: NAME}),
        "OPENAI_API_KEY": "any-key",
        "CHATIRE_MODEL": "fake",
    }
    stack = Stack(
        database_url=through(pooler, database.url),
        model_url=paced_model.base_url,
        logs=tmp_path_factory.mktemp("deployed"),
        folder=image.path(""),
        commands={
            name: f"env {shlex.join(f'{key}={value}' for key, value in image.env.items())} "
            + shlex.join([*image.entrypoint, name])
            for name in procfile()
        },
        DATABASE_DIRECT_URL=database.url,
        # Whoever does not say that it came by HTTPS is sent away.
        SECURE_SSL_REDIRECT="true",
        **documented,
    )
    try:
        stack.release(DATABASE_URL=database.url)
        stack.start()
        yield stack
    finally:
        stack.__exit__(None, None, None)  # also what started before something did not
        database.drop()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name, marks=pytest.mark.skipif(program(name) is None, reason=f"no {name} is installed")
        )
        for name in PROXIES
    ],
)
def proxy(
    request: pytest.FixtureRequest,
    deployed: Stack,
    tls: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """Each of the documented proxies, in front of it."""
    name = str(request.param)
    made = PROXIES[name](deployed, tmp_path_factory.mktemp(name), free_port(), tls)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def _trusted(tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))


@pytest.mark.usefixtures("_trusted")
async def test_people_chat_through_the_documented_proxy(proxy: Proxy) -> None:
    async with person(proxy, "alice") as alice:
        chat = await alice.open_chat()
        for seed, kind in enumerate(("browser", "phone", "query"), 71):
            async with alice.device(kind) as device:
                room = await device.follow(chat)
                sent = await alice.say(chat, f"Go {directive(tokens=40, seed=seed)}")
                reply = await device.finished(chat, sent["reply"]["id"])
                assert reply.text == reply.final == expected_text(seed, 40)
                assert reply.deltas > 1  # as it was written, not all at the end
                assert room.faults == []
        assert [message["role"] for message in await alice.history(chat)].count("assistant") == 3
        if proxy.access_log.exists():
            logged = proxy.access_log.read_text()
            assert "/ws/" in logged
            assert alice.token not in logged


@pytest.mark.usefixtures("_trusted")
async def test_whoever_is_slow_to_say_a_request_keeps_nobody_else_waiting(proxy: Proxy) -> None:
    address = urlsplit(proxy.url)
    secure = ssl.create_default_context()
    with contextlib.ExitStack() as leaving:
        # More than `web` has threads.
        for _ in range(40):
            plain = socket.create_connection(("127.0.0.1", address.port))
            slow = leaving.enter_context(secure.wrap_socket(plain, server_hostname=NAME))
            slow.sendall(f"GET /api/config/ HTTP/1.1\r\nHost: {NAME}\r\nX-Slow: ".encode())
        async with httpx.AsyncClient(base_url=proxy.url, timeout=30) as other:
            for _ in range(10):
                assert (await other.get("/api/config/")).status_code == 200


@pytest.mark.usefixtures("_trusted")
async def test_the_page_loads_through_the_documented_proxy(proxy: Proxy, deployed: Stack) -> None:
    async with httpx.AsyncClient(base_url=proxy.url) as browser:
        index = await browser.get("/")
        assert index.status_code == 200
        assert index.headers["content-type"].startswith("text/html")
        deep = await browser.get("/c/01900000-0000-7000-8000-000000000000")
        assert deep.text == index.text
        assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', index.text)
        assert {path.rsplit(".", 1)[1] for path in assets} == {"js", "css"}
        admin = await browser.get("/admin/login/")
        assert "Secure" in admin.headers["set-cookie"]
        collected = re.findall(r'href="(/static/[^"]+\.css)"', admin.text)
        assert collected
        for path in [*assets, *collected]:
            answer = await browser.get(path)
            assert answer.status_code == 200, path
            assert "immutable" in answer.headers["cache-control"], path
        config = await browser.get("/api/config/")
        assert config.json()["ws_url"] == deployed.env["WS_PUBLIC_URL"]
        assert (await browser.get("/metrics")).status_code == 404


def test_compose_asks_each_process_how_it_is_and_hears_that_it_is_well(deployed: Stack) -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    for name, process in deployed.processes.items():
        asked, *command = compose["services"][name]["healthcheck"]["test"]
        assert asked == "CMD"
        default = {"web": "8000", "ws": "8081", "worker": "8082"}[name]
        port = process.health.split(":")[2].split("/")[0]
        command[-1] = substitute(command[-1], {f":{default}/": f":{port}/"})
        done = subprocess.run(command, env=deployed.env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        command[-1] = substitute(command[-1], {f":{port}/": f":{free_port()}/"})
        nobody = subprocess.run(command, env=deployed.env, capture_output=True, check=False)
        assert nobody.returncode != 0
