"""What a model is asked: which model, where, and the history it sees."""

import os
from dataclasses import dataclass, replace
from typing import Final

from django.conf import settings

from chat.llm import ModelSpec, Turn, estimate_turns
from chat.models import Assistant, Conversation, Message, Topic
from chat.replies.history import build_turns, continuation
from chat.replies.past import past_messages
from chat.selectors.topics import accepted_answers
from chat.services.replies import Claim
from protocol.errors import ReplyError

# vLLM and SGLang want to be told; llama.cpp sees it and takes no offence.
OPEN_TURN: Final = {"continue_final_message": True, "add_generation_prompt": False}

# Of a forum's accepted answers a model is told so many, and of each so many characters.
MAX_ANSWERS: Final = 5
MAX_ANSWER: Final = 1000
ACCEPTED: Final = "Questions of this forum, each with the answer that was accepted:"


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
        _instructions(assistant, claim.conversation, budget),
        claim.message.language or claim.conversation.language or assistant.language,
        past_messages(claim.message, claim.conversation),
        budget - estimate_turns(ending),
        group=kind != Conversation.Kind.ASSISTANT,
        assistant_id=assistant.pk,
    )
    if not any(turn.role == "user" for turn in turns):
        raise CannotAsk(ReplyError.TURN_GONE)
    return Prompt(spec, turns + ending)


def _instructions(assistant: Assistant, conversation: Conversation, budget: int) -> str:
    """The assistant's own; in a forum's topic, with what was accepted there before.

    Of that no more characters than `budget` has tokens, which is about a quarter of it.
    """
    topic = None
    if conversation.kind == Conversation.Kind.DISCUSSION:
        topic = Topic.objects.filter(pk=conversation.pk).first()
    answers = [] if topic is None else accepted_answers(topic, most=MAX_ANSWERS)
    told: list[str] = []
    for title, content in answers:
        answer = f"{title}\n{_cut(content)}"
        if sum(map(len, told)) + len(answer) <= budget:
            told.append(answer)
    if not told:
        return assistant.system_prompt
    return "\n\n".join([assistant.system_prompt, ACCEPTED, *told]).strip()


def _cut(content: str) -> str:
    return content if len(content) <= MAX_ANSWER else f"{content[:MAX_ANSWER]}…"


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
