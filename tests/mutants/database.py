"""One migrated database, and a clone of it for every process that runs tests."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

TEMPLATE = "mutants_template"


def url_of(name: str) -> str:
    """Return DATABASE_URL with another database."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def make_template(tree: Path) -> None:
    """Migrate a database, to be cloned."""
    drop(TEMPLATE)
    _execute("CREATE DATABASE {}", TEMPLATE)
    environment = {**os.environ, "DATABASE_URL": url_of(TEMPLATE)}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=tree, env=environment, check=True)


def clone(name: str) -> None:
    """Make a database like the template."""
    drop(name)
    _execute("CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)


def drop(name: str) -> None:
    """Delete a database, whoever is connected to it."""
    _execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _execute(statement: str, *names: str) -> None:
    # No connection is kept: a fork would take it along.
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
