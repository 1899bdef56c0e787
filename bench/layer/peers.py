"""The layers that are compared, each with the settings that let it do its best."""

from __future__ import annotations

import asyncio
import os
from typing import Any

CHATIRE = "chatire"
TABLES = "channels_postgres"
REDIS = "channels_redis core"
PUBSUB = "channels_redis pub/sub"
ON_REDIS = "chatire on Redis"
PEERS = (CHATIRE, ON_REDIS, PUBSUB, REDIS, TABLES)

# Nobody may win by dropping: the queues hold whatever a case leaves waiting.
CAPACITY = 1_000_000
DEADLINE = 30.0  # seconds


def make_layer(name: str) -> Any:
    """A layer of that name, on the servers of DATABASE_URL and REDIS_URL. Needs django.setup()."""
    if name == CHATIRE:
        from channels_pgnotify import PostgresChannelLayer

        capacity = int(os.environ.get("BENCH_CAPACITY", CAPACITY))
        return PostgresChannelLayer(capacity=capacity, **_options())
    if name == TABLES:
        from channels_postgres.core import PostgresChannelLayer as Tables
        from django.conf import settings

        return Tables(**settings.DATABASES["default"])
    host = os.environ["REDIS_URL"]
    if name == ON_REDIS:
        from core.redis_layer import RedisChannelLayer as OnRedis

        return OnRedis(hosts=[host], capacity=CAPACITY)
    if name == REDIS:
        from channels_redis.core import RedisChannelLayer

        return RedisChannelLayer(hosts=[host], capacity=CAPACITY)
    from channels_redis.pubsub import RedisPubSubChannelLayer

    return RedisPubSubChannelLayer(hosts=[host])


def _options() -> dict[str, Any]:
    shards = os.environ.get("BENCH_SHARDS")
    return {"shards": int(shards)} if shards else {}


async def prepare(name: str, layer: Any) -> None:
    """What a peer needs before its receivers may be counted on."""
    if name != TABLES:
        return
    # Its listener starts with the first receive(), and each receive() before it is up starts one
    # more, which then delivers everything once more: one at a time is how it delivers once.
    channel = await layer.new_channel()
    task = asyncio.ensure_future(layer.receive(channel))
    try:
        async with asyncio.timeout(DEADLINE):
            while layer.listener_task_is_running is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await layer.listener_task_is_running.wait()
    finally:
        task.cancel()


async def close(layer: Any) -> None:
    """Let go of the connections, where the layer knows how."""
    for name in ("close", "close_pools", "flush"):
        method = getattr(type(layer), name, None) or layer.__dict__.get(name)
        if method is not None:
            await getattr(layer, name)()
            return
