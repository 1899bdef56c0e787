"""Naming a conversation after its first exchange, by the model that took part in it."""

import re
from contextlib import aclosing
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings

from chat.llm import Delta, ModelConnectionLost, ModelError, ModelSpec, Timeouts, Turn, stream_reply
from chat.models import Message
from chat.replies.prompt import model_spec
from chat.services.conversations import name_conversation
from core.threads import in_thread

logger = structlog.get_logger(__name__)

MAX_CHARACTERS: Final = 60
MAX_WORDS: Final = 10
_MAX_TOKENS: Final = 30
_EXCERPT: Final = 600  # characters of each side of the exchange
_SECONDS: Final = 30.0
_INSTRUCTION: Final = (
    "Write a title of at most six words for the conversation below, in its language. "
    "Answer with the title only: no quotes, no full stop, no explanation."
)
_LABEL = re.compile(r"^\s*(?:#+\s*|[*_]+)?(?:title|titel|titre|título)\s*[:：]\s*", re.IGNORECASE)
_MARKUP: Final = " \t*_#`\"'“”„‘’«».:;,-–—"


class _Exchange(NamedTuple):
    conversation_id: UUID
    asked: str
    answered: str
    spec: ModelSpec


async def write_title_after(reply_id: UUID) -> None:
    """Name the untitled conversation that a reply began; any other is left as it is."""
    exchange = await in_thread(_read, reply_id)
    if exchange is None:
        return
    title = clean_title(await _ask(exchange)) or fallback_title(exchange.asked)
    if title:
        await in_thread(name_conversation, conversation_id=exchange.conversation_id, title=title)


def _read(reply_id: UUID) -> _Exchange | None:
    reply = (
        Message.objects.select_related("conversation", "parent", "author_assistant")
        .filter(pk=reply_id, conversation__title="")
        .first()
    )
    if reply is None or reply.parent is None or reply.author_assistant is None:
        return None
    model = reply.model or reply.author_assistant.model or settings.DEFAULT_MODEL
    try:
        spec = model_spec(reply.author_assistant, model, max_tokens=_MAX_TOKENS)
    except ValueError:
        return None
    return _Exchange(reply.conversation_id, reply.parent.content, reply.content, spec)


async def _ask(exchange: _Exchange) -> str:
    """What the model says, or nothing: a title is not worth waiting for a better moment."""
    for _ in range(2):
        try:
            return await _said(exchange)
        except ModelError as error:
            logger.info("title_not_written", code=error.code)
            # Only a kept connection that the server was just closing is worth a second try.
            if not isinstance(error, ModelConnectionLost):
                break
    return ""


async def _said(exchange: _Exchange) -> str:
    conversation = f"{exchange.asked[:_EXCERPT]}\n\n{exchange.answered[:_EXCERPT]}"
    turns = [Turn("user", f"{_INSTRUCTION}\n\n{conversation}")]
    timeouts = Timeouts(**{**settings.REPLY_TIMEOUTS, "total": _SECONDS})
    said = ""
    async with aclosing(stream_reply(exchange.spec, turns, timeouts=timeouts)) as stream:
        async for item in stream:
            if isinstance(item, Delta):
                said += item.text
                if len(said) > 10 * MAX_CHARACTERS or "\n" in said.strip():
                    break
    return said


def clean_title(said: str) -> str:
    """Return the title in what a model said, or nothing if there is none that fits.

    Small models explain, quote, label, or answer the question instead.
    """
    lines = [line for line in said.splitlines() if line.strip(_MARKUP)]
    if not lines:
        return ""
    title = " ".join(_LABEL.sub("", lines[0]).strip(_MARKUP).split())
    if not title or len(title) > MAX_CHARACTERS or len(title.split()) > MAX_WORDS:
        return ""
    return title


def fallback_title(asked: str) -> str:
    """Return the first words of what was asked."""
    words = asked.split()
    title = ""
    for word in words[:MAX_WORDS]:
        if len(title) + len(word) + 1 > MAX_CHARACTERS:
            break
        title = f"{title} {word}" if title else word
    if not title:
        return asked.strip()[:MAX_CHARACTERS]
    return title if len(title) == len(" ".join(words)) else f"{title}…"
