"""Strict reading of environment variables: one line says what is wrong, and nothing starts."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_RATE_UNITS = frozenset({"s", "sec", "second", "m", "min", "minute", "h", "hour", "d", "day"})


# What Gunicorn's workers say when they cannot boot; at any other status it would try for ever.
EXIT_STATUS = 3


def refuse(message: str) -> NoReturn:
    """Say in one line, on standard error, why the process cannot start, and end it.

    An ImproperlyConfigured would hide the line under a stack trace. The message never repeats a
    value that may hold a secret.
    """
    sys.stderr.write(f"Chatire cannot start: {message}\n")
    raise SystemExit(EXIT_STATUS)


def require(condition: bool, message: str) -> None:
    """Refuse to start unless the condition holds."""
    if not condition:
        refuse(message)


class Environment:
    """Variables by kind. One that is set to nothing counts as unset. All may refuse."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __contains__(self, name: str) -> bool:
        return bool(self._variables.get(name))

    def text(self, name: str, default: str) -> str:
        """Return the text as it is."""
        return self._variables.get(name) or default

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return the text, which is one of `choices`."""
        value = self.text(name, default)
        allowed = " or ".join(repr(choice) for choice in choices)
        require(value in choices, f"{name} is {value!r}; it must be {allowed}.")
        return value

    def switch(self, name: str, default: bool) -> bool:
        """Return whether it is on: 1, true, yes or on; 0, false, no or off."""
        value = self.text(name, str(default)).lower()
        require(value in _TRUE | _FALSE, f"{name} is {value!r}; it must be true or false.")
        return value in _TRUE

    def whole(self, name: str, default: int, *, least: int = 0) -> int:
        """Return a whole number from `least`."""
        value = self.text(name, str(default))
        number = int(value) if value.isascii() and value.isdigit() else least - 1
        require(number >= least, f"{name} is {value!r}; it must be a whole number from {least}.")
        return number

    def number(self, name: str, default: float) -> float:
        """Return a number from 0, which may have decimals."""
        value = self.text(name, str(default))
        plain = value.isascii() and value.replace(".", "", 1).isdigit()
        require(plain, f"{name} is {value!r}; it must be a number from 0.")
        return float(value)

    def items(self, name: str) -> list[str]:
        """Return what stands between commas; nothing if unset."""
        return [part.strip() for part in self.text(name, "").split(",") if part.strip()]

    def rate(self, name: str, default: str) -> str:
        """Return a throttle's rate: a number, a slash and a unit, such as 30/min."""
        value = self.text(name, default)
        number, _, unit = value.partition("/")
        good = number.isascii() and number.isdigit() and unit in _RATE_UNITS
        require(good, f"{name} is {value!r}; it must be a rate such as 30/min.")
        return value

    def level(self, name: str, default: str) -> str:
        """Return the name of a logging level."""
        value = self.text(name, default).upper()
        known = logging.getLevelNamesMapping()
        require(value in known, f"{name} is {value!r}; it must be one of {', '.join(known)}.")
        return value

    def postgres(self, name: str) -> dict[str, Any]:
        """Return Django's settings of the database at a postgres:// or postgresql:// URL."""
        complaint = f"{name} must be a URL such as postgresql://user:password@host:5432/name."
        url = self.text(name, "")
        require(url.startswith(("postgres://", "postgresql://")), complaint)
        try:
            config = environ.Env.db_url_config(url)
        except (ImproperlyConfigured, ValueError):
            refuse(complaint)
        return dict(config)

    def redis(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of channels_redis's `hosts`; none if unset.

        The URLs have commas between them: `redis://` or `rediss://` for a server, and
        `redis+sentinel://` or `rediss+sentinel://` for a master, by the name in the path.
        """
        # Between the sentinels of one URL stand commas, too.
        urls = re.split(r",\s*(?=rediss?(?:\+sentinel)?://)", self.text(name, "").strip())
        try:
            return [_redis_host(url) for url in urls if url]
        except ValueError:
            refuse(
                f"{name} must be redis:// or rediss:// URLs with commas between them, such as"
                " redis://:password@host:6379/0, or"
                " redis+sentinel://:password@sentinel:26379,sentinel:26379/service."
            )

    def email(self, name: str, default: str) -> dict[str, Any]:
        """Return Django's EMAIL settings for a URL such as smtp+tls://user:password@host:587."""
        try:
            return dict(environ.Env.email_url_config(self.text(name, default)))
        except (ImproperlyConfigured, ValueError):
            refuse(f"{name} must be a URL such as smtp+tls://user:password@host:587.")


def _redis_host(url: str) -> dict[str, Any]:
    """Return what channels_redis takes for one URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss"):
        # Looked at so that a port that is none is noticed now.
        where, port = parts.hostname or "", parts.port
        if not where or "," in where or port == 0 or not re.fullmatch(r"(/\d*)?", parts.path):
            raise ValueError
        return {"address": url}
    if parts.scheme not in ("redis+sentinel", "rediss+sentinel"):
        raise ValueError
    user, _, sentinels = parts.netloc.rpartition("@")
    path = re.fullmatch(r"/(?P<service>[^/]+)(/(?P<db>\d+))?", parts.path)
    options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    if path is None or set(options) - {"sentinel_username", "sentinel_password"}:
        raise ValueError
    host: dict[str, Any] = {
        "master_name": path["service"],
        "sentinels": [_sentinel(sentinel) for sentinel in sentinels.split(",")],
        "db": int(path["db"] or 0),
        "sentinel_kwargs": {name.removeprefix("sentinel_"): options[name] for name in options},
    }
    if user:
        name, _, password = user.partition(":")
        host |= {"username": unquote(name) or None, "password": unquote(password) or None}
    if parts.scheme == "rediss+sentinel":
        host["ssl"] = True
        host["sentinel_kwargs"]["ssl"] = True
    return host


def _sentinel(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or 26379
