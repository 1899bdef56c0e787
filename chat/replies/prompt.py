"""What a model is asked: which model, where, and the history it sees."""

import os
from dataclasses import dataclass, replace
from typing import Final

from django.conf import settings

from chat.llm import ModelSpec, Turn, estimate_turns
from chat.models import Assistant, Conversation, Message
from chat.replies.history import build_turns, continuation
from chat.replies.past import past_messages
from chat.services.replies import Claim
from protocol.errors import ReplyError

# vLLM and SGLang want to be told; llama.cpp sees it and takes no offence.
OPEN_TURN: Final = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass(frozen=True)
class Prompt:
    """A request to a model."""

    spec: ModelSpec
    turns: list[Turn]


class CannotAsk(Exception):
    """There is no model to ask. `code` is the reply's error code."""

    def __init__(self, code: ReplyError) -> None:
        super().__init__(code)
        self.code = code


def prompt_for(claim: Claim) -> Prompt:
    """Read from the database what the model of a claimed reply is asked. Raises CannotAsk."""
    assistant = claim.message.author_assistant
    if assistant is None:
        raise CannotAsk(ReplyError.ASSISTANT_GONE)
    try:
        spec = model_spec(assistant, chosen_model(claim.message, claim.conversation, assistant))
    except ValueError as error:
        raise CannotAsk(ReplyError.ASSISTANT_MISCONFIGURED) from error
    budget = _budget(assistant, spec)
    open_turn = assistant.open_turns if assistant.base_url else settings.OPENAI_OPEN_TURNS
    ending = continuation(claim.message.content, budget, open_turn=open_turn)
    if ending and open_turn:
        spec = replace(spec, extra={**spec.extra, **OPEN_TURN})
    kind = claim.conversation.kind
    turns = build_turns(
        assistant.system_prompt,
        claim.message.language or claim.conversation.language or assistant.language,
        past_messages(claim.message, claim.conversation),
        budget - estimate_turns(ending),
        group=kind != Conversation.Kind.ASSISTANT,
        assistant_id=assistant.pk,
    )
    if not any(turn.role == "user" for turn in turns):
        raise CannotAsk(ReplyError.TURN_GONE)
    return Prompt(spec, turns + ending)


def _budget(assistant: Assistant, spec: ModelSpec) -> int:
    """Tokens for the prompt: what the reply leaves of the context, and at least half of it."""
    context = assistant.context_tokens or settings.CONTEXT_TOKENS
    return max(context - (spec.max_tokens or 0), context // 2)


def chosen_model(message: Message, conversation: Conversation, assistant: Assistant) -> str:
    """The reply's own model, else the conversation's, else the assistant's, else the default."""
    if message.model:
        return message.model
    if conversation.model in (assistant.model, *assistant.allowed_models):
        return conversation.model or assistant.model or settings.DEFAULT_MODEL
    return assistant.model or settings.DEFAULT_MODEL


def model_spec(assistant: Assistant, model: str, *, max_tokens: int | None = None) -> ModelSpec:
    """How to reach `model` for an assistant. The key comes from the environment."""
    return ModelSpec(
        model=model,
        base_url=assistant.base_url or settings.OPENAI_BASE_URL or None,
        api_key=os.environ.get(assistant.api_key_variable or "OPENAI_API_KEY", ""),
        temperature=assistant.temperature,
        max_tokens=max_tokens or assistant.max_tokens or settings.MAX_REPLY_TOKENS,
        extra=assistant.parameters,
    )
