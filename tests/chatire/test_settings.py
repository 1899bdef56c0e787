"""Settings come strictly from the environment: one line says what is wrong, and nothing starts."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatire.environment import Environment

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "CHATIRE_ENV": "production",
    "SECRET_KEY": "k7Qf0vT9mZ3xR1yW8pL5sD2hJ6nB4cG0aE7uI9oP3qX1",
    "ALLOWED_HOSTS": "chat.example.org",
    "DATABASE_URL": "postgresql://user:password@127.0.0.1:1/chatire",
}
# One variable made wrong (None: unset), and what the complaint names.
WRONG = [
    ("SECRET_KEY", None, "SECRET_KEY"),
    ("SECRET_KEY", "", "SECRET_KEY"),
    ("SECRET_KEY", "too-short", "SECRET_KEY"),
    ("SECRET_KEY", "django-insecure-" + "x" * 50, "SECRET_KEY"),
    ("SECRET_KEY", "please-change-me-" + "x" * 50, "SECRET_KEY"),
    ("ALLOWED_HOSTS", None, "ALLOWED_HOSTS"),
    ("ALLOWED_HOSTS", "", "ALLOWED_HOSTS"),
    ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS"),
    ("ALLOWED_HOSTS", "chat.example.org,*", "ALLOWED_HOSTS"),
    ("DEBUG", "true", "DEBUG"),
    ("DEBUG", "maybe", "DEBUG"),
    ("DATABASE_URL", None, "DATABASE_URL"),
    ("DATABASE_URL", "", "DATABASE_URL"),
    ("DATABASE_URL", "sqlite:///db.sqlite3", "DATABASE_URL"),
    ("DATABASE_URL", "mysql://user@host/name", "DATABASE_URL"),
    ("DATABASE_URL", "not a url", "DATABASE_URL"),
    ("DATABASE_DIRECT_URL", "redis://localhost", "DATABASE_DIRECT_URL"),
    ("CHANNEL_LAYER_URL", "amqp://localhost", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis://", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis://:" + "x" * 50 + "@host:none/0", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis://host/name", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis://one,two", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis+sentinel://host:26379", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis+sentinel://host,/chat", "CHANNEL_LAYER_URL"),
    ("CHANNEL_LAYER_URL", "redis+sentinel://host/chat?password=x", "CHANNEL_LAYER_URL"),
    ("CHATIRE_ENV", "staging", "CHATIRE_ENV"),
    ("WORKER_CONCURRENCY", "many", "WORKER_CONCURRENCY"),
    ("ACCESS_TOKEN_SECONDS", "15 minutes", "ACCESS_TOKEN_SECONDS"),
    ("REPLY_TIMEOUT_TOTAL", "ten", "REPLY_TIMEOUT_TOTAL"),
    ("DB_THREADS", "0", "DB_THREADS"),
    ("WS_DRAIN_SECONDS", "soon", "WS_DRAIN_SECONDS"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL"),
    ("EMAIL_URL", "pigeon://", "EMAIL_URL"),
]


def start(*command: str, environment: dict[str, str] = GOOD) -> subprocess.CompletedProcess[str]:
    """Start a process that, by default, only loads the settings."""
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, *(command or ("-c", "import chatire.settings"))],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("", []),
        ("redis://:word@host:6379/0", [{"address": "redis://:word@host:6379/0"}]),
        ("unix", None),
        (
            "redis://one:6379/0, rediss://two/1?ssl_cert_reqs=none",
            [{"address": "redis://one:6379/0"}, {"address": "rediss://two/1?ssl_cert_reqs=none"}],
        ),
        (
            "redis+sentinel://me:p%40ss@one,two:26380/chat/2?sentinel_password=word",
            [
                {
                    "master_name": "chat",
                    "sentinels": [("one", 26379), ("two", 26380)],
                    "db": 2,
                    "username": "me",
                    "password": "p@ss",
                    "sentinel_kwargs": {"password": "word"},
                }
            ],
        ),
        (
            "rediss+sentinel://one/chat",
            [
                {
                    "master_name": "chat",
                    "sentinels": [("one", 26379)],
                    "db": 0,
                    "ssl": True,
                    "sentinel_kwargs": {"ssl": True},
                }
            ],
        ),
    ],
)
def test_a_layers_urls_become_the_hosts_of_channels_redis(url, hosts):
    environment = Environment({"URL": url})
    if hosts is None:
        with pytest.raises(SystemExit):
            environment.redis("URL")
    else:
        assert environment.redis("URL") == hosts


@pytest.mark.parametrize(
    ("changed", "prepared"),
    [
        ({}, 2),
        ({"DATABASE_DIRECT_URL": GOOD["DATABASE_URL"]}, None),
        ({"DATABASE_DIRECT_URL": GOOD["DATABASE_URL"], "DATABASE_PREPARE": "true"}, 2),
    ],
)
def test_statements_are_prepared_unless_a_pooler_stands_between(changed, prepared):
    code = "from chatire.settings import DATABASES; print(DATABASES['default']['OPTIONS'])"
    url = GOOD["DATABASE_URL"] + "?sslmode=require"
    done = start("-c", code, environment={**GOOD, "DATABASE_URL": url, **changed})
    assert ast.literal_eval(done.stdout) == {
        "sslmode": "require",
        "server_side_binding": True,
        "prepare_threshold": prepared,
    }


def test_good_settings_start():
    assert start().returncode == 0


@pytest.mark.parametrize(("variable", "value", "named"), WRONG)
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(variable, value, named):
    environment = {**GOOD, variable: value}
    if value is None:
        del environment[variable]
    done = start(environment=environment)
    lines = done.stderr.strip().splitlines()
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    assert named in lines[0]
    # What was wrong may have been a secret, and this line ends up in logs.
    assert value in (None, "", "0", "*") or "x" * 50 not in lines[0]


@pytest.mark.parametrize(
    "command",
    [
        (
            *("-m", "gunicorn", "chatire.wsgi", "--config", "python:chatire.gunicorn"),
            *("--bind", "127.0.0.1:0", "--no-control-socket"),
        ),
        ("-m", "uvicorn", "chatire.asgi:application", "--port", "0"),
        ("manage.py", "worker"),
        ("manage.py", "migrate"),
    ],
)
def test_every_process_of_the_procfile_ends_instead_of_trying_for_ever(command):
    done = start(*command, environment={**GOOD, "SECRET_KEY": "short"})
    assert done.returncode != 0
    assert "Chatire cannot start: SECRET_KEY" in done.stderr
    assert "Traceback" not in done.stderr
