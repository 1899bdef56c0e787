"""The files that other programs start Chatire by: systemd's, Compose's, Heroku's."""

import json
import re
import shlex
import shutil
import stat
import subprocess
import tomllib
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from chatire.stack import bootstrap
from tests.acceptance.stack import procfile
from tests.deployment import PAGE, ROOT, blocks, environment, section, substitute, units
from tests.test_docs import documented, names, rows

COMPOSE = (ROOT / "docker" / "compose.yaml").read_text()
SERVICES = yaml.safe_load(COMPOSE)["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
PROCESSES = ("web", "ws", "worker")


def seconds_to_stop() -> dict[str, int]:
    """Return how long each process may take to stop, as the page has it."""
    table = rows(section("Stopping and deploying"))
    return {
        name: int(row[2].removesuffix(" s"))
        for row in table
        for name in names(row[0]) & {*PROCESSES}
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Procfile and bin/, and a `python` that says how it was called."""
    (tmp_path / "bin").mkdir()
    for path in ("Procfile", "bin/process", "bin/post_compile"):
        shutil.copy(ROOT / path, tmp_path / path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "python $*"\n')
    python.chmod(0o755)
    return tmp_path


def run(command: list[str], folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder with that `python`, these variables and no others."""
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": f"{folder}/.venv/bin:/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


# --- The page ------------------------------------------------------------------------------


def test_the_least_is_what_production_starts_with_and_settings_document():
    assert set(environment()) <= set(documented())
    assert {"SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL"} <= set(environment())


def test_the_least_reads_alike_for_a_shell_and_for_those_that_know_only_lines(tmp_path):
    (block,) = blocks("The least you set", "sh")
    (tmp_path / "production.env").write_text(block)
    done = subprocess.run(
        ["/bin/sh", "-c", "set -a; . ./production.env; env"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    read = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert environment().items() <= read.items()


def test_what_is_installed_by_hand_ends_with_the_release_line():
    (block,) = blocks("Installing", "sh")
    assert procfile()["release"] in block.splitlines()


def test_versions_of_python_and_node_are_one_everywhere():
    python = ".".join(map(str, bootstrap.MINIMUM))
    node = ".".join(map(str, bootstrap.MINIMUM_NODE))
    assert f"Python {python} or newer runs it; Node.js {node} or newer builds the page" in PAGE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={python}"
    assert (ROOT / ".python-version").read_text() == f"{python}\n"
    assert f"FROM python:{python}-slim" in DOCKERFILE
    page = json.loads((ROOT / "frontend" / "package.json").read_text())
    assert page["engines"]["node"] == f">={node}"
    (major,) = re.findall(r"^FROM node:(\d+)-slim", DOCKERFILE, re.MULTILINE)
    assert int(major) > bootstrap.MINIMUM_NODE[0]
    top = json.loads((ROOT / "package.json").read_text())
    assert top["engines"]["node"] == f"{major}.x"


# --- bin/process ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_is_its_line_with_the_shells_defaults(checkout, name):
    done = run(
        ["/bin/sh", f"{checkout}/bin/process", name],
        Path("/"),
        PATH=f"{checkout}/.venv/bin:/bin:/usr/bin",
    )
    plain = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", procfile()[name])
    assert done.stdout == f"{plain}\n"


def test_release_is_both_of_its_commands_and_the_second_only_after_the_first(checkout):
    done = run(["/bin/sh", "bin/process", "release"], checkout)
    assert done.stdout == "python manage.py migrate --noinput\npython manage.py setup\n"
    (checkout / ".venv" / "bin" / "python").write_text('#!/bin/sh\necho "python $*"\nexit 3\n')
    failed = run(["/bin/sh", "bin/process", "release"], checkout)
    assert failed.stdout == "python manage.py migrate --noinput\n"
    assert failed.returncode == 3


def test_a_process_that_there_is_not_is_named(checkout):
    done = run(["/bin/sh", "bin/process", "mail"], checkout)
    assert done.returncode == 64
    assert "mail" in done.stderr


# --- systemd -------------------------------------------------------------------------------


def unit(name: str) -> RawConfigParser:
    """Return a documented unit's settings."""
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(units()[name])
    return parser


def start(unit_name: str, instance: str, checkout: Path, **file: str) -> str:
    """Start a unit's command as systemd would, with these lines in its EnvironmentFile."""
    service = unit(unit_name)["Service"]
    command = service["ExecStart"].replace("%i", instance)
    # There is nothing left for systemd to fill in, so that this is all it does.
    assert not set(command) & {"$", "%"}
    done = run(shlex.split(command), checkout, **file)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("instance", ["", *PROCESSES])
def test_units_are_what_systemd_takes(tmp_path, instance):
    for name, text in units().items():
        (tmp_path / name).write_text(text)
    template, release = units()
    started = template.replace("@.", f"@{instance}.") if instance else release
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"./{started}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    # It says what it does not know, and goes on.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "chatire" in line]
    assert (done.returncode, ours) == (0, [])


def test_a_port_of_the_environment_file_counts_and_else_the_procfiles_default(checkout):
    template, _ = units()
    assert ":8000 " in start(template, "web", checkout)
    assert ":9000 " in start(template, "web", checkout, PORT="9000")
    assert "--port 8081 " in start(template, "ws", checkout)
    assert "--port 9001 " in start(template, "ws", checkout, WS_PORT="9001")
    assert start(template, "worker", checkout) == "python manage.py worker\n"


def test_the_release_unit_ends_with_setup(checkout):
    _, release = units()
    assert start(release, "", checkout).splitlines()[-1] == "python manage.py setup"


def test_units_find_the_environments_python_and_give_time_to_stop():
    template, release = (unit(name)["Service"] for name in units())
    for service in (template, release):
        folder = service["WorkingDirectory"]
        assert service["Environment"].startswith(f"PATH={folder}/.venv/bin:")
    assert int(template["TimeoutStopSec"]) > max(seconds_to_stop().values())


def test_commands_name_the_units_and_every_process():
    commands = blocks("systemd", "sh")[-1]
    instances = re.findall(r"chatire@(\w+)", commands)
    assert set(instances) == set(PROCESSES)
    assert "chatire-release" in commands


# --- Compose -------------------------------------------------------------------------------


def test_composes_file_is_what_compose_takes():
    # With YAML's merges carried out, which this reader does not do.
    text = yaml.safe_dump(yaml.safe_load(COMPOSE))
    assert sorted(PyCompose.from_yaml(text).service_names()) == sorted(SERVICES)
    with pytest.raises(ValueError, match="healthchek"):
        PyCompose.from_yaml(substitute(text, {"healthcheck:": "healthchek:"}))


def test_what_services_refer_to_is_there():
    volumes = yaml.safe_load(COMPOSE)["volumes"]
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            once = SERVICES[other].get("restart") == "no"
            expected = "service_completed_successfully" if once else "service_healthy"
            assert wanted["condition"] == expected, (name, other)
            assert once or "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in volumes
        if "build" in service:
            folder = (ROOT / "docker" / service["build"]["context"]).resolve()
            assert (folder / service["build"]["dockerfile"]).is_file()


def test_there_is_a_service_for_each_process_on_the_ports_that_it_listens_on():
    lines = procfile()
    assert set(SERVICES) == {"postgres", *lines}
    for name in lines:
        assert SERVICES[name]["command"] == name
        for port in SERVICES[name].get("ports", []):
            host, outside, inside = port.split(":")
            assert (host, outside) == ("127.0.0.1", inside)
            assert f":-{inside}}}" in lines[name]
    assert {name for name in lines if "ports" in SERVICES[name]} == {"web", "ws"}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_container_has_the_time_that_its_process_takes_to_stop(name):
    grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace > seconds_to_stop()[name]


def test_containers_get_what_one_sets_and_only_what_is_a_setting():
    for name in procfile():
        given = set(SERVICES[name]["environment"])
        assert set(environment()) <= given
        assert given <= set(documented())
    # Without these there is nothing to start with.
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE))
    assert wanted == {"POSTGRES_PASSWORD", "SECRET_KEY", "ALLOWED_HOSTS"}


# --- Heroku --------------------------------------------------------------------------------


def test_a_socket_app_has_the_ws_line_as_its_web_on_the_platforms_port(checkout):
    done = run(["bin/post_compile"], checkout, CHATIRE_PROCESS="ws")
    assert done.returncode == 0, done.stderr
    (line,) = (checkout / "Procfile").read_text().splitlines()
    name, _, command = line.partition(": ")
    assert name == "web"
    started = run(["/bin/bash", "-c", command], checkout, PORT="4321", WS_PORT="8081")
    assert started.stdout.startswith("python -m uvicorn chatire.asgi:application ")
    assert "--port 4321 " in started.stdout
    # All else is as it was.
    assert command == procfile()["ws"].replace("${WS_PORT:-8081}", "$PORT")


@pytest.mark.parametrize("variables", [{}, {"CHATIRE_PROCESS": "web"}, {"CHATIRE_PROCESS": ""}])
def test_any_other_app_keeps_the_procfile(checkout, variables):
    assert run(["bin/post_compile"], checkout, **variables).returncode == 0
    assert (checkout / "Procfile").read_text() == (ROOT / "Procfile").read_text()


def test_a_socket_app_without_a_ws_line_or_of_an_unknown_kind_fails_at_its_build(checkout):
    assert run(["bin/post_compile"], checkout, CHATIRE_PROCESS="sockets").returncode == 64
    (checkout / "Procfile").write_text("web: x\n")
    assert run(["bin/post_compile"], checkout, CHATIRE_PROCESS="ws").returncode == 64
    assert (checkout / "Procfile").read_text() == "web: x\n"


def test_scripts_of_bin_can_be_run():
    for path in (ROOT / "bin").iterdir():
        assert path.stat().st_mode & stat.S_IXUSR, path


def test_the_page_is_built_where_buildpacks_look_also_in_production(tmp_path):
    # npm of this name says how it was called, and where development packages were asked for.
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\necho "$*"\n')
    npm.chmod(0o755)
    scripts = json.loads((ROOT / "package.json").read_text())["scripts"]
    done = subprocess.run(
        ["/bin/sh", "-c", scripts["heroku-postbuild"]],
        env={"PATH": f"{tmp_path}:/bin:/usr/bin", "NODE_ENV": "production"},
        capture_output=True,
        text=True,
        check=True,
    )
    installed, built = done.stdout.splitlines()
    assert installed.startswith("--prefix frontend ci --include=dev")
    assert built == "--prefix frontend run build"
    assert "build" in json.loads((ROOT / "frontend" / "package.json").read_text())["scripts"]


def test_documented_apps_get_the_variables_that_a_start_wants():
    first, second = blocks("Heroku, Dokku and the like", "sh")
    for commands in (first, second):
        assert {"SECRET_KEY", "ALLOWED_HOSTS", "BEHIND_TLS_PROXY"} <= set(
            re.findall(r"\b([A-Z_]+)=", commands)
        )
    assert first.index("heroku/nodejs") < first.index("heroku/python")
    assert "CHATIRE_PROCESS=ws" in second
