"""A channel layer on Redis or Valkey with the face of `channels_pgnotify`'s."""

from core.redis_layer.layer import RedisChannelLayer

__all__ = ["RedisChannelLayer"]
