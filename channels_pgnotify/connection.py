from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.postgresql.base import DatabaseWrapper

# A peer that vanished without a word is noticed by the kernel in about 20 s; what the kernel cannot
# see (a live peer that passes nothing on) the layer's own time-outs and heartbeat notice.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "connect_timeout": 5,
}


# What Django would add to an entry of DATABASES that leaves it out.
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("NAME", "USER", "PASSWORD", "HOST", "PORT"), ""),
    "OPTIONS": {},
    "TIME_ZONE": None,
}


class Database:
    """Where the layer's Postgres is: its own settings, or Django's default database.

    Django's own is looked up anew each time, since a test run renames it after start.
    """

    def __init__(self, settings: Mapping[str, Any] | None) -> None:
        self._settings = {**_DEFAULTS, **settings} if settings else None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in the form of one entry of DATABASES."""
        if self._settings is not None:
            return self._settings
        return dict(connections[DEFAULT_DB_ALIAS].settings_dict)

    def is_djangos(self) -> bool:
        """Whether Django's default connection leads to the same database."""
        if self._settings is None:
            return True
        return bool(
            self._settings.get("NAME") == connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]
        )

    def params(self, application_name: str) -> dict[str, Any]:
        """Keyword arguments for psycopg's connect()."""
        params = connection_params(self.settings)
        return {**_KEEPALIVES, **params, "application_name": application_name}


def connection_params(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What libpq needs of one entry of DATABASES, without what Django adds for itself."""
    complete = {**_DEFAULTS, **settings}
    params: dict[str, Any] = DatabaseWrapper(complete).get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    return params


def backoff(attempt: int, *, base: float = 0.1, cap: float = 5.0) -> float:
    """Seconds to wait before the attempt-th retry (1, 2, …): exponential, with full jitter, so that
    the processes of a restarted database do not come back all at once."""
    return random.uniform(0, min(cap, base * 2 ** min(attempt, 10)))  # noqa: S311
