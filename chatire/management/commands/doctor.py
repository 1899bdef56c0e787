"""`manage.py doctor`: does this installation have what it needs?"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from channels_pgnotify import PostgresChannelLayer
from core.redis_layer import RedisChannelLayer
from core.version import VERSION


class Problem(Exception):
    """What is wrong, and what to do."""


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int"
        )
        version, number = cursor.fetchone()
    if number < 140000:
        raise Problem(f"PostgreSQL {version} is too old; 14 is the oldest that Django 5.2 takes.")
    return f"PostgreSQL {version}"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise Problem(f"{len(missing)} migrations are not applied: run `manage.py migrate`.")
    return "all applied"


def _layer() -> str:
    layer = get_channel_layer()
    if not isinstance(layer, PostgresChannelLayer | RedisChannelLayer):
        return f"{type(layer).__name__}, not checked"

    async def check() -> None:
        try:
            await layer.check()
        finally:
            await layer.close()

    asyncio.run(check())
    if isinstance(layer, PostgresChannelLayer):
        return "LISTEN and NOTIFY work"
    names = "; ".join(host.name for host in layer.hosts)
    return f"Redis at {names}: what is published arrives"


def _queue() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notification_queue_usage()")
        usage = float(cursor.fetchone()[0])
    if usage > 0.5:
        raise Problem(
            f"The NOTIFY queue is {usage:.0%} full: some session holds a transaction open since"
            " it ran LISTEN. Look for it in pg_stat_activity."
        )
    return f"NOTIFY queue {usage:.0%} full"


def _models() -> str:
    from chat.models import Assistant

    variables = Assistant.objects.active().values_list("api_key_variable", flat=True)
    missing = sorted(
        name for name in {name or "OPENAI_API_KEY" for name in variables} if name not in os.environ
    )
    if missing:
        raise Problem(f"Assistants name keys that are not set: {', '.join(missing)}.")
    return settings.OPENAI_BASE_URL or "OpenAI's own address"


def _version() -> str:
    return VERSION


CHECKS: dict[str, Callable[[], str]] = {
    "version": _version,
    "database": _database,
    "migrations": _migrations,
    "channel layer": _layer,
    "notify queue": _queue,
    "models": _models,
}


class Command(BaseCommand):
    """Check what the processes need, one line each; exit 1 if something is wrong."""

    help = "Check the database, its migrations, the channel layer and the models' keys."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run every check, even after one has failed."""
        failed = 0
        for name, check in CHECKS.items():
            try:
                self.stdout.write(f"ok       {name}: {check()}")
            except Exception as error:  # noqa: BLE001 - each is what the check is for
                failed += 1
                self.stdout.write(f"PROBLEM  {name}: {error}")
        if failed:
            raise CommandError(f"{failed} of {len(CHECKS)} checks failed.")
