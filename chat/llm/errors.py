"""What can go wrong with a model, in our words. The provider's own stay in `__cause__`."""

import email.utils
import time
from collections.abc import Iterator, Mapping

import aiohttp
import httpx2
import openai
from langchain_core.exceptions import ContextOverflowError

from protocol.errors import ReplyError

# What the libraries on the way to a model raise: their own errors, and the built-in ones that
# come out of them when a server sends what they did not expect (JSONDecodeError and
# UnicodeDecodeError are ValueErrors; JSON nested without end is a RecursionError).
PROVIDER_ERRORS = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    aiohttp.ClientError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)


class ModelError(Exception):
    """The model could not give a reply.

    `code` is machine-readable; `after_first_delta` says that part of the reply is already out;
    `retry_after` is in seconds, as the provider asked. The text of an instance is its code: the
    provider's words are never shown, since they may carry keys, prompts and host names.
    """

    code = ReplyError.MODEL_ERROR
    temporary = False

    def __init__(
        self, *, retry_after: float | None = None, after_first_delta: bool = False
    ) -> None:
        super().__init__(self.code)
        self.retry_after = retry_after
        self.after_first_delta = after_first_delta

    @property
    def retryable(self) -> bool:
        """Whether asking again may help and doubles nothing: no part of the reply is out yet."""
        return self.temporary and not self.after_first_delta


class ModelTimeout(ModelError):
    """The model took too long."""

    code = ReplyError.MODEL_TIMEOUT
    temporary = True


class ModelConnectTimeout(ModelTimeout):
    """No connection to the model in time."""

    code = ReplyError.MODEL_TIMEOUT_CONNECT


class ModelFirstTokenTimeout(ModelTimeout):
    """The request was accepted, but the reply did not begin in time."""

    code = ReplyError.MODEL_TIMEOUT_FIRST_TOKEN


class ModelIdleTimeout(ModelTimeout):
    """The reply began and then fell silent."""

    code = ReplyError.MODEL_TIMEOUT_IDLE


class ModelTotalTimeout(ModelTimeout):
    """The whole reply took too long."""

    code = ReplyError.MODEL_TIMEOUT_TOTAL
    temporary = False


class ModelUnreachable(ModelError):
    """No connection: refused, no such host, bad certificate."""

    code = ReplyError.MODEL_UNREACHABLE
    temporary = True


class ModelConnectionLost(ModelError):
    """The connection broke before the reply was whole."""

    code = ReplyError.MODEL_CONNECTION_LOST
    temporary = True


class ModelRateLimited(ModelError):
    """Too many requests (429)."""

    code = ReplyError.MODEL_RATE_LIMITED
    temporary = True


class ModelQuotaExceeded(ModelError):
    """The account has no credit left; a 429 that no waiting cures."""

    code = ReplyError.MODEL_QUOTA_EXCEEDED


class ModelUnavailable(ModelError):
    """The provider failed or is busy (408, 409, 5xx)."""

    code = ReplyError.MODEL_UNAVAILABLE
    temporary = True


class ModelRejected(ModelError):
    """The provider refuses this request: unknown model, bad parameters (other 4xx)."""

    code = ReplyError.MODEL_REJECTED


class ModelContextExceeded(ModelRejected):
    """The history does not fit the model's context."""

    code = ReplyError.MODEL_CONTEXT_EXCEEDED


class ModelAuthError(ModelError):
    """The key is missing, wrong, or not allowed to do this (401, 403)."""

    code = ReplyError.MODEL_AUTH


class ModelErrorInStream(ModelError):
    """The provider reported an error inside a stream that it had begun with a 200."""

    code = ReplyError.MODEL_ERROR_IN_STREAM
    temporary = True


class ModelBadResponse(ModelError):
    """What came back is not the stream of a chat completion."""

    code = ReplyError.MODEL_BAD_RESPONSE
    temporary = True


def translate_error(error: Exception, *, connected: bool) -> ModelError:
    """The ModelError for what a library raised; `connected` once the response had begun."""
    if isinstance(error, ContextOverflowError) or (
        isinstance(error, openai.APIError) and _overflows(error)
    ):
        return ModelContextExceeded()
    if isinstance(error, openai.APIStatusError):
        return _translate_status(error)
    transport = _translate_transport(error, connected=connected)
    if transport is not None:
        return transport
    if isinstance(error, openai.APIError):
        return ModelErrorInStream()
    return ModelBadResponse()


def _overflows(error: openai.APIError) -> bool:
    """Whether the prompt is too long, in the words of those whom LangChain does not know."""
    return (
        error.code == "context_length_exceeded"  # OpenAI
        or error.type == "exceed_context_size_error"  # llama.cpp
        or "maximum context length" in error.message  # vLLM
    )


def _translate_status(error: openai.APIStatusError) -> ModelError:
    status = error.status_code
    retry_after = parse_retry_after(error.response.headers)
    if status in (401, 403):
        return ModelAuthError()
    if status == 429:
        if error.code == "insufficient_quota":
            return ModelQuotaExceeded()
        return ModelRateLimited(retry_after=retry_after)
    if status in (408, 409) or status >= 500:
        return ModelUnavailable(retry_after=retry_after)
    return ModelRejected()


def _translate_transport(error: Exception, *, connected: bool) -> ModelError | None:
    """What happened on the wire, or None if nothing did.

    aiohttp's error decides, since the layers above blur it: httpx2's transport for aiohttp, for
    one, turns a connection reset into a ConnectTimeout.
    """
    match next((cause for cause in _causes(error) if isinstance(cause, aiohttp.ClientError)), None):
        case aiohttp.SocketTimeoutError():
            return ModelIdleTimeout() if connected else ModelFirstTokenTimeout()
        case aiohttp.ServerTimeoutError():
            return ModelConnectTimeout()
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return ModelRejected()
        case aiohttp.ClientConnectorError():
            return ModelUnreachable()
        case aiohttp.ClientResponseError():
            return ModelBadResponse()
        case aiohttp.ClientError():
            return ModelConnectionLost()
    if isinstance(error, httpx2.InvalidURL):
        return ModelRejected()
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError | OSError):
        return ModelConnectionLost() if connected else ModelUnreachable()
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as a response asks: `retry-after-ms` (OpenAI's) or `Retry-After`, which is
    seconds or an HTTP date (RFC 9110, 10.2.3). None if it asks for nothing that can be read."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if not value:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
