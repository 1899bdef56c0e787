"""Strict reading of environment variables: one line says what is wrong, and nothing starts."""

import logging
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

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

    def email(self, name: str, default: str) -> dict[str, Any]:
        """Return Django's EMAIL settings for a URL such as smtp+tls://user:password@host:587."""
        try:
            return dict(environ.Env.email_url_config(self.text(name, default)))
        except (ImproperlyConfigured, ValueError):
            refuse(f"{name} must be a URL such as smtp+tls://user:password@host:587.")
