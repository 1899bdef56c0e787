"""A Channels channel layer on PostgreSQL's LISTEN and NOTIFY; docs/channel-layer.md."""

from .consumer import PushMixin
from .core import PostgresChannelLayer
from .errors import (
    LayerError,
    ListenError,
    MessageTooLarge,
    NotifyQueueFull,
    PublishBacklogFull,
    PublishError,
)

__all__ = [
    "LayerError",
    "ListenError",
    "MessageTooLarge",
    "NotifyQueueFull",
    "PostgresChannelLayer",
    "PublishBacklogFull",
    "PublishError",
    "PushMixin",
]
