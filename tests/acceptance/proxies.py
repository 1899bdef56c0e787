"""nginx and Caddy, configured by docs/deployment.md, with TLS, on a port of their own."""

import datetime as dt
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.acceptance.stack import Stack
from tests.deployment import HOST, blocks, substitute

PROXY_SECTION = "A proxy in front"
NAME = "localhost"
DEADLINE = 20.0  # seconds


def program(name: str) -> str | None:
    """Return the path of a program, which may be where only root looks."""
    return shutil.which(
        name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
    )


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for NAME, its own authority; return its file and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


class Proxy:
    """A proxy in front of a stack, as a client knows it: `url` and `ws_url`."""

    def __init__(
        self, command: list[str], folder: Path, port: int, environment: dict[str, str]
    ) -> None:
        self.url = f"https://{NAME}:{port}"
        self.ws_url = f"wss://{NAME}:{port}"
        self.access_log = folder / "access.log"
        self._port = port
        self._command = command
        self._folder = folder
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections. Raises AssertionError with its log."""
        log = self._folder / "log"
        with log.open("wb") as stream:
            self._child = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + DEADLINE
        while self._child.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"{self._command[0]} did not start:\n{log.read_text()}")

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait(DEADLINE)


def nginx(stack: Stack, folder: Path, port: int, tls: tuple[Path, Path]) -> Proxy:
    """Return nginx as documented, which is what stands in its `http` block."""
    (documented,) = blocks(PROXY_SECTION, "nginx")
    site = substitute(
        documented,
        {
            "server 127.0.0.1:8000;": f"server 127.0.0.1:{stack.web_port};",
            "server 127.0.0.1:8081;": f"server 127.0.0.1:{stack.ws_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            f"server_name {HOST};": f"server_name {NAME};",
            "# ssl_certificate …;": f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};",
            "/var/log/nginx/chatire.log": f"{folder}/access.log",
        },
    )
    (folder / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    # Its own user, where we are root: the folder is closed to others.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nworker_processes 1;\n"
        f"events {{}}\nhttp {{\n{scratch}\ninclude {folder}/site.conf;\n}}\n"
    )
    command = [str(program("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return Proxy(command, folder, port, dict(os.environ))


def caddy(stack: Stack, folder: Path, port: int, tls: tuple[Path, Path]) -> Proxy:
    """Return Caddy as documented, which is the whole file but for what this machine has not."""
    (documented,) = blocks(PROXY_SECTION, "")
    site = substitute(
        documented,
        {
            "{\n\tservers {": "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {",
            f"{HOST} {{": f"{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {tls[0]} {tls[1]}",
            "127.0.0.1:8081": f"127.0.0.1:{stack.ws_port}",
            "127.0.0.1:8000": f"127.0.0.1:{stack.web_port}",
        },
    )
    (folder / "Caddyfile").write_text(site)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    return Proxy([str(program("caddy")), "run"], folder, port, environment)


PROXIES: dict[str, Callable[[Stack, Path, int, tuple[Path, Path]], Proxy]] = {
    "nginx": nginx,
    "caddy": caddy,
}
