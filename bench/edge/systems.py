"""The systems that are compared, each started, asked and weighed in its own way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import psutil

from chatire.stack.ports import free_port
from chatire.stack.process import LAUNCHER, Process
from tests.acceptance.stack import ROOT, Database, Stack, procfile

from . import dialects
from .dialects import Dialect, Wrong

CHATIRE = "chatire"
CHATIRE_REDIS = "chatire_redis"
CHATIRE_SEVERAL = "chatire_several"
SOCKETIO = "socketio"
NCHAN = "nchan"
NAMES = (CHATIRE, CHATIRE_REDIS, CHATIRE_SEVERAL, SOCKETIO, NCHAN)

PEERS = Path(__file__).with_name("peers")
SECRET = "this key signs tokens of the benchmark and of nothing else"
_WEBS, _SOCKETS, _WORKERS = 2, 3, 2  # of `Several`
START = 30.0  # seconds that a process may take until it answers
STOP = 15.0
_NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


@dataclass(frozen=True)
class Room:
    """A room, and tokens of its people; the first of them speaks."""

    id: str
    tokens: list[str]


@dataclass(frozen=True)
class World:
    """The rooms that a system's cases are about."""

    hall: Room
    rooms: list[Room]
    sizes: dict[str, Room]  # by how many are in it; silent


@dataclass(frozen=True)
class Plan:
    """How many people there are where."""

    sockets: int
    idle: int
    in_each: int
    crowd: int

    @property
    def rooms(self) -> int:
        """How many rooms the idle ones are in."""
        return self.idle // self.in_each


class Server:
    """A process that listens on a port, started as often as one likes."""

    def __init__(
        self,
        command: list[str],
        port: int,
        *,
        env: dict[str, str],
        cwd: Path,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._port = port
        self._make = partial(
            Process, Path(command[0]).name, command, env=env, cwd=cwd, death_signal=death_signal
        )
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; `wait` says when it listens."""
        self._process = self._make()
        self._process.start()

    def wait(self) -> None:
        """Wait until it listens. Raises Wrong with what it said if it does not."""
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            if not process.running or time.monotonic() > deadline:
                said = " ".join(process.tail)[-1000:]
                raise Wrong(f"{process.name} {process.explain_exit()}: {said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self._process.stop(STOP)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP)


class Rest:
    """One connection that is kept, for one request at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> float:
        """Send a request; return when, by `time.perf_counter`."""
        now = time.perf_counter()
        self._socket.sendall(request)
        return now

    def receive(self) -> Any:
        """Return the body that is the answer. Raises Wrong for anything but success."""
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += self._more()
        head, _, body = buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        while len(body) < (int(length[1]) if length else 0):
            body += self._more()
        if not head.startswith(b"HTTP/1.1 2"):
            raise Wrong(f"{head.splitlines()[0].decode()}: {body[:500].decode()}")
        return json.loads(body) if b"json" in head else body

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise Wrong("a request was not answered")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def request(method: str, path: str, token: str, body: dict[str, str] | None = None) -> bytes:
    """An HTTP request, with a JSON body where there is one."""
    data = json.dumps(body).encode() if body else b""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode() + data


class System(ABC):
    """One of them. `world` is there once it was prepared, the ports once it was started."""

    name = ""
    dialect: Dialect
    world: World
    port: int  # of the sockets
    rest_port: int

    @abstractmethod
    def start(self) -> None:
        """Start all of its processes, and wait until they answer."""

    @abstractmethod
    def stop(self) -> None:
        """Stop them, whatever state they are in."""

    @abstractmethod
    def renew(self) -> None:
        """Start the process that holds sockets afresh, so that it can be weighed."""

    def kill(self) -> None:
        """Kill the process that holds sockets, and start it as a supervisor does: at once."""
        raise Wrong("not tried")

    @abstractmethod
    def pid(self) -> int:
        """The process that holds sockets, or the one above it."""

    @abstractmethod
    def post(self, room: Room, mark: str) -> bytes:
        """The request that says something in a room."""

    @abstractmethod
    def number(self, answer: Any) -> int:
        """What the answer to that says about the message's place."""

    @contextlib.contextmanager
    def rest(self) -> Iterator[Rest]:
        """A connection to ask over."""
        made = Rest(self.rest_port)
        try:
            yield made
        finally:
            made.close()

    def family(self) -> list[psutil.Process]:
        """The processes that hold sockets."""
        leader = psutil.Process(self.pid())
        return [leader, *leader.children(recursive=True)]

    def weight(self) -> float:
        """What they take, in KB; of what is shared with others, their part."""
        return float(sum(one.memory_full_info().pss for one in self.family())) / 1024

    def settle(self) -> None:
        """Wait until they have nothing left to do, or for as long as that may take."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            before = self._used()
            time.sleep(0.5)
            if self._used() - before < 0.03:
                return

    def _used(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self.family())


class Chatire(System):
    """The Procfile's processes, on this checkout."""

    def __init__(
        self, name: str, database: Database, logs: Path, layer: str = "", **several: Any
    ) -> None:
        self.name = name
        self.dialect = self.protocol = dialects.Chatire()
        self.database = database
        logs.mkdir()
        # They die with this process, whatever ends it.
        launch = f"{sys.executable} -I -S {LAUNCHER} {os.getpid()} {int(signal.SIGKILL)} -1 -1"
        commands = procfile()
        commands |= {one: f"{launch} {commands[one]}" for one in ("web", "ws", "worker")}
        self.stack = Stack(
            database_url=database.url,
            model_url="http://127.0.0.1:9/v1",
            logs=logs,
            commands=commands,
            SECRET_KEY=SECRET,
            CHANNEL_LAYER_URL=layer,
            **several,
        )
        self.port, self.rest_port = self.stack.ws_port, self.stack.web_port

    def prepare(self, plan: Plan) -> World:
        """Make the schema and the rooms."""
        self.stack.release()
        wanted = {
            "rooms": [plan.sockets, *[plan.in_each] * plan.rooms],
            "silent": [2, plan.crowd],
        }
        done = subprocess.run(
            [sys.executable, "-m", "bench.edge.people", json.dumps(wanted)],
            cwd=ROOT,
            env={**self.stack.env, "DJANGO_SETTINGS_MODULE": "chatire.settings"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Wrong(done.stderr[-2000:])
        made = json.loads(done.stdout.splitlines()[-1])
        hall, *rooms = [Room(**room) for room in made["rooms"]]
        two, crowd = [Room(**room) for room in made["silent"]]
        return World(hall, rooms, {"two": two, "ten_thousand": crowd})

    def start(self) -> None:
        self.stack.start()

    def stop(self) -> None:
        for process in self.stack.processes.values():
            process.signal(signal.SIGTERM)
        for process in self.stack.processes.values():
            with contextlib.suppress(AssertionError):
                process.stop()
            process.kill()

    def renew(self) -> None:
        self.stack["ws"].stop()
        self.stack.restart("ws")

    def kill(self) -> None:
        self.stack["ws"].kill()
        self.stack["ws"].start()

    def pid(self) -> int:
        return self.stack["ws"].pid

    def post(self, room: Room, mark: str) -> bytes:
        path = f"/api/conversations/{room.id}/messages/"
        return request("POST", path, room.tokens[0], _said(mark))

    def number(self, answer: Any) -> int:
        return int(answer["message"]["seq"])

    def keep_lists(self) -> None:
        """From now on clients that are greeted ask what is new in their lists, too."""
        with self.rest() as rest:
            rest.send(request("GET", "/api/me/changes/", self.world.rooms[0].tokens[0]))
            self.protocol.at = rest.receive()["at"]


class Several(Chatire):
    """Several processes of each kind behind nginx, which gives each `ws` an equal share."""

    def __init__(self, nginx: str, database: Database, folder: Path) -> None:
        # All of them together must not take all of PostgreSQL's connections.
        few = {"DB_THREADS": "3", "WEB_THREADS": "4", "WEB_CONCURRENCY": str(_WEBS)}
        super().__init__(
            CHATIRE_SEVERAL, database, folder, sockets=_SOCKETS, workers=_WORKERS, **few
        )
        self.port = self.rest_port = free_port()
        servers = " ".join(f"server 127.0.0.1:{port};" for port in self.stack.ws_ports)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _BALANCING.format(
                folder=folder,
                port=self.port,
                user=_user(),
                web=self.stack.web_port,
                sockets=servers,
            )
        )
        self._nginx = Server(
            [nginx, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")],
            self.port,
            env={"PATH": os.environ["PATH"]},
            cwd=folder,
            death_signal=signal.SIGTERM,
        )

    def start(self) -> None:
        super().start()
        self._nginx.start()
        self._nginx.wait()

    def stop(self) -> None:
        self._nginx.stop()
        super().stop()

    def renew(self) -> None:
        for name in self._names():
            self.stack[name].stop()
        for name in self._names():
            self.stack.restart(name)

    def family(self) -> list[psutil.Process]:
        leaders = [psutil.Process(self.stack[name].pid) for name in self._names()]
        return [one for leader in leaders for one in (leader, *leader.children(recursive=True))]

    def _names(self) -> list[str]:
        return [name for name in self.stack.processes if name.startswith("ws")]


class SocketIO(System):
    """Socket.IO with its Postgres adapter, split as Chatire is: one process takes, one tells."""

    name = SOCKETIO

    def __init__(self, node: str, database_url: str, plan: Plan) -> None:
        self.dialect = dialects.SocketIO()
        self.port, self.rest_port = free_port(), free_port()
        env = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "JWT_SECRET": SECRET}
        env["NODE_ENV"] = "production"
        self._http, self._sockets = (
            Server([node, f"{name}.mjs"], port, env={**env, "PORT": str(port)}, cwd=PEERS)
            for name, port in (("http", self.rest_port), ("sockets", self.port))
        )
        self.world = World(
            _signed("hall", plan.sockets),
            [_signed(f"room-{n}", plan.in_each) for n in range(plan.rooms)],
            {},
        )

    def start(self) -> None:
        # The first makes the tables.
        for server in (self._http, self._sockets):
            server.start()
            server.wait()

    def stop(self) -> None:
        self._sockets.stop()
        self._http.stop()

    def renew(self) -> None:
        self._sockets.stop()
        self._sockets.start()
        self._sockets.wait()

    def kill(self) -> None:
        self._sockets.kill()
        self._sockets.start()

    def pid(self) -> int:
        return self._sockets.pid

    def post(self, room: Room, mark: str) -> bytes:
        return request("POST", "/", room.tokens[0], _said(mark))

    def number(self, answer: Any) -> int:
        return int(answer["id"])


class Nchan(System):
    """nginx with nchan, which stores nothing and asks nobody who they are."""

    name = NCHAN

    def __init__(self, nginx: str, folder: Path, plan: Plan) -> None:
        self.dialect = dialects.Nchan()
        self.port = self.rest_port = free_port()
        folder.mkdir()
        configuration = folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=folder, port=self.port, user=_user()))
        command = [nginx, "-p", str(folder), "-c", str(configuration)]
        self._nginx = Server(
            [*command, "-e", str(folder / "error.log")],
            self.port,
            env={"PATH": os.environ["PATH"]},
            cwd=folder,
            # Killed, it would leave its worker behind.
            death_signal=signal.SIGTERM,
        )
        self.world = World(
            Room("hall", [""] * plan.sockets),
            [Room(f"room{n}", [""] * plan.in_each) for n in range(plan.rooms)],
            {},
        )

    def start(self) -> None:
        self._nginx.start()
        self._nginx.wait()

    def stop(self) -> None:
        self._nginx.stop()

    def renew(self) -> None:
        self.stop()
        self.start()

    def pid(self) -> int:
        return self._nginx.pid

    def post(self, room: Room, mark: str) -> bytes:
        return request("POST", f"/pub/{room.id}", "", _said(mark))

    def number(self, answer: Any) -> int:
        return 0


def find_node() -> str | None:
    """Return the node that has the peers' packages, which are installed; None if there is none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    if not _installed():
        command = [npm, "ci", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(command, cwd=PEERS, check=False, timeout=180)
        return None if done.returncode else node
    return node


def _installed() -> bool:
    """Say whether node_modules holds what package-lock.json asks for."""
    wanted = json.loads((PEERS / "package-lock.json").read_text())["packages"]
    try:
        record = json.loads((PEERS / "node_modules" / ".package-lock.json").read_text())
    except FileNotFoundError:
        return False
    return bool(record["packages"] == {path: one for path, one in wanted.items() if path})


def find_nchan() -> str | None:
    """Return the nginx that has nchan, or None. Root installs it where apt has it."""
    if not _NCHAN_MODULE.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing libnginx-mod-nchan …", flush=True)
        command = ["apt-get", "install", "-y", "-q", "nginx", "libnginx-mod-nchan"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=180)
    return shutil.which("nginx") if _NCHAN_MODULE.exists() else None


def _said(mark: str) -> dict[str, str]:
    return {"client_id": mark, "content": "It was said that the train at nine will not run today."}


def _signed(room: str, people: int) -> Room:
    claims = {"room": room, "exp": int(time.time()) + 3 * 3600}
    return Room(
        room, [jwt.encode({**claims, "sub": f"{room}-{n}"}, SECRET, "HS256") for n in range(people)]
    )


def _user() -> str:
    """Root's nginx would work as somebody who cannot read its folder."""
    return "user root;" if os.geteuid() == 0 else ""


_BALANCING = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 32000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    upstream sockets {{ least_conn; {sockets} }}
    upstream web {{ server 127.0.0.1:{web}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /ws/ {{
            proxy_pass http://sockets;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_read_timeout 3600s;
        }}
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""

_NGINX = f"""
load_module {_NCHAN_MODULE};
{{user}}
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {{folder}}/nginx.pid;
events {{{{ worker_connections 16000; }}}}
http {{{{
  access_log off;
  client_body_temp_path {{folder}}/body;
  proxy_temp_path {{folder}}/proxy;
  fastcgi_temp_path {{folder}}/fastcgi;
  uwsgi_temp_path {{folder}}/uwsgi;
  scgi_temp_path {{folder}}/scgi;
  keepalive_requests 1000000;
  nchan_shared_memory_size 64m;
  server {{{{
    listen 127.0.0.1:{{port}} backlog=4096;
    location ~ ^/pub/(\\w+)$ {{{{
      nchan_publisher;
      nchan_channel_id $1;
      nchan_message_buffer_length 1;
    }}}}
    location ~ ^/sub/(\\w+)$ {{{{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }}}}
  }}}}
}}}}
"""
