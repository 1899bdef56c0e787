from __future__ import annotations

from channels.exceptions import ChannelFull


class LayerError(Exception):
    """The channel layer could not do what was asked."""


class ListenError(LayerError):
    """The LISTEN connection did not become effective in time."""


class PublishError(LayerError):
    """The server did not accept a message; it may or may not have been delivered."""


class NotifyQueueFull(PublishError, ChannelFull):  # type: ignore[misc]
    """Postgres's notification queue is full: some session listens but never reads."""


class PublishBacklogFull(PublishError, ChannelFull):  # type: ignore[misc]
    """Too much waits in this process to be published; this message was not taken."""


class MessageTooLarge(LayerError, ValueError):
    """A message is over the size the layer carries."""
