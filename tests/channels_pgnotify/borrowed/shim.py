"""A pytest plugin that puts our layer where the borrowed tests import theirs from."""

import asyncio
import sys
import types
from typing import Any

import channels_redis.core
import channels_redis.pubsub
import channels_redis.utils
import django
import psycopg
import pytest
from django.core.management import call_command

# channels_postgres imports its models.
django.setup()

import channels_postgres.core  # noqa: E402

from channels_pgnotify import PostgresChannelLayer  # noqa: E402

# Each test that does not apply to this layer, and why; the key is its package and name.
INAPPLICABLE = {
    "channels_redis/test_core.py::test_default_group_key_format": "the name of a Redis key",
    "channels_redis/test_core.py::test_custom_group_key_format": "the name of a Redis key",
    "channels_redis/test_core.py::test_receive_buffer_respects_capacity": (
        "looks into a queue class of channels_redis; "
        "test_core.py::test_a_member_that_never_reads_takes_bounded_memory is ours"
    ),
    "channels_redis/test_pubsub.py::test_loop_instance_channel_layer_reference": (
        "looks at the inner object of the proxy that channels_redis.pubsub is"
    ),
    "channels_redis/test_pubsub.py::test_receive_on_non_owned_general_channel": (
        "sends a str, which neither the specification nor channels_postgres allows"
    ),
    "channels_postgres/test_core.py::test_guarantee_at_most_once_delivery": (
        "waits for an attribute of the replaced listener; test_core.py::"
        "test_a_named_channel_keeps_its_messages_until_someone_reads_one_each is ours"
    ),
    "channels_postgres/test_core.py::test_big_message": (
        "asserts that a message over 8,000 bytes goes through the table, which it does not; "
        "test_core.py::test_messages_of_any_size_arrive_whole_and_in_order is ours"
    ),
}


class AsRedis(PostgresChannelLayer):
    """Takes the constructor arguments and the few extra names that the Redis tests use."""

    def __init__(self, hosts: Any = None, **config: Any) -> None:
        super().__init__(**config)

    close_pools = PostgresChannelLayer.close

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        # The tests take a message to be in its queues once group_send has returned, as in Redis;
        # in Postgres it is under way, so wait for a heartbeat, which comes after it.
        await super().group_send(group, message)
        listener = self._listeners.get(asyncio.get_running_loop())
        if listener is not None and listener.is_listening(self._inbox(self.client_prefix)):
            assert await listener.beats()

    @property
    def _layers(self) -> dict[Any, Any]:
        return self._listeners

    @property
    def _shards(self) -> list[Any]:
        return [types.SimpleNamespace(_redis=self)]


async def _close_connection(layer: PostgresChannelLayer) -> None:
    """What closing the Redis connection is to them: end the layer's sessions in the server."""
    params = layer._database.params("borrowed tests")
    async with await psycopg.AsyncConnection.connect(autocommit=True, **params) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'chatire %'"
        )


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported."""
    call_command("migrate", verbosity=0)
    channels_postgres.core.PostgresChannelLayer = PostgresChannelLayer
    channels_redis.core.RedisChannelLayer = AsRedis
    channels_redis.pubsub.RedisPubSubChannelLayer = AsRedis
    channels_redis.utils._close_redis = _close_connection
    # Its one use in the tests has been in the standard library since Python 3.11.
    sys.modules["async_timeout"] = types.SimpleNamespace(timeout=asyncio.timeout)  # type: ignore[assignment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what does not apply; a reason for a test that is not there is an error."""
    unused = set(INAPPLICABLE)
    for item in items:
        package = item.path.parent.parent.name.rpartition("-")[0]
        key = f"{package}/{item.path.name}::{item.name}"
        if key in INAPPLICABLE:
            item.add_marker(pytest.mark.skip(reason=f"{key}: {INAPPLICABLE[key]}"))
            unused.discard(key)
    if unused:
        raise pytest.UsageError(f"no such borrowed tests: {sorted(unused)}")
