"""The way to a model: `stream_reply` is an async iterator over one reply. No Django here."""

from chat.llm.endpoints import close_clients
from chat.llm.errors import (
    ModelAuthError,
    ModelBadResponse,
    ModelConnectionLost,
    ModelConnectTimeout,
    ModelContextExceeded,
    ModelError,
    ModelErrorInStream,
    ModelFirstTokenTimeout,
    ModelIdleTimeout,
    ModelQuotaExceeded,
    ModelRateLimited,
    ModelRejected,
    ModelTimeout,
    ModelTotalTimeout,
    ModelUnavailable,
    ModelUnreachable,
)
from chat.llm.spec import Delta, Finish, ModelSpec, Timeouts, ToolCall, Turn, Usage
from chat.llm.stream import stream_reply
from chat.llm.tokens import estimate_tokens, estimate_turns, estimate_usage

__all__ = [
    "Delta",
    "Finish",
    "ModelAuthError",
    "ModelBadResponse",
    "ModelConnectTimeout",
    "ModelConnectionLost",
    "ModelContextExceeded",
    "ModelError",
    "ModelErrorInStream",
    "ModelFirstTokenTimeout",
    "ModelIdleTimeout",
    "ModelQuotaExceeded",
    "ModelRateLimited",
    "ModelRejected",
    "ModelSpec",
    "ModelTimeout",
    "ModelTotalTimeout",
    "ModelUnavailable",
    "ModelUnreachable",
    "Timeouts",
    "ToolCall",
    "Turn",
    "Usage",
    "close_clients",
    "estimate_tokens",
    "estimate_turns",
    "estimate_usage",
    "stream_reply",
]
