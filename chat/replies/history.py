"""The history a model is given: the newest part of a conversation that fits its budget.

Pure Python, no Django. Messages are taken one by one from the newest, and no further than the
budget reaches, so that the cost does not grow with the age of a conversation.
"""

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

from chat.llm.spec import Turn
from chat.llm.tokens import TOKENS_PER_TURN, estimate_tokens

# What was said and is worth telling the model. The partial text of a reply that was stopped or
# cut off is part of what people saw; a failed reply is about to be made anew.
_SAID = frozenset({"complete", "cancelled", "interrupted"})
# The newest user message gets at least this much, whatever the system prompt leaves.
_MIN_NEWEST_TOKENS = 64
_OMISSION = "\n[…]\n"
# Every server of chat models understands this; few go on with an assistant's turn left open.
_GO_ON = (
    "Your last message was cut off. Go on exactly where it ends: your answer is appended to it as "
    "it is. Repeat nothing and do not comment."
)
_NOT_IN_NAMES = re.compile("[:()@]")
_INDENT = "\n  "
_NAME_LENGTH = 60  # characters
# A language may come from a client and goes into the system prompt, so it must not be a sentence.
_LANGUAGE = re.compile(r"[\w()-]+( [\w()-]+){0,2}")
_LANGUAGE_LENGTH = 35  # characters; the longest BCP 47 tag that RFC 5646 asks to support


@dataclass(frozen=True)
class PastMessage:
    """A message as the history needs it. `author` is any id; compared with `assistant_id`."""

    role: Literal["user", "assistant", "system"]
    content: str
    author: Hashable = None
    author_name: str = ""
    author_handle: str = ""
    status: str = "complete"


def build_turns(
    system_prompt: str,
    language: str,
    past: Iterable[PastMessage],
    budget_tokens: int,
    *,
    group: bool = False,
    assistant_id: Hashable = None,
) -> list[Turn]:
    """The turns to send to the model: the system's first, then the newest of `past` in order.

    `past` is newest first and consumed lazily. `budget_tokens` is for the whole prompt, by
    `estimate_tokens`; the newest user message is always there, its middle left out if it alone is
    too long. With `group`, what people and other assistants say begins with their names, all its
    further lines are indented, so that no text can be taken for what another says, and only
    messages by `assistant_id` are the assistant's own. Turns of one role that follow each other
    are joined, since the chat templates of many models insist on alternation.
    """
    system = _system_turn(system_prompt, language, group=group)
    turns: list[Turn] = []  # newest first
    room = budget_tokens
    if system is not None:
        room -= TOKENS_PER_TURN + estimate_tokens(system.content)
    room = max(room, _MIN_NEWEST_TOKENS)
    asked = False  # the newest user message is in
    trimmed = False
    for message in past:
        turn = _turn(message, group=group, assistant_id=assistant_id)
        if turn is None:
            continue
        cost = TOKENS_PER_TURN + estimate_tokens(turn.content)
        if cost > room or (not asked and turn.role != "user" and cost > room // 2):
            if asked:
                trimmed = True
                break
            # What follows the newest user message leaves half of the room to it.
            share = room if turn.role == "user" else room // 2
            own = not group or turn.role == "assistant"
            omission = _OMISSION if own else _INDENT.join(_OMISSION.split("\n"))
            turn = Turn(turn.role, omit_middle(turn.content, share - TOKENS_PER_TURN, omission))
            cost = TOKENS_PER_TURN + estimate_tokens(turn.content)
        turns.append(turn)
        room -= cost
        asked = asked or turn.role == "user"
    # A history that begins with an answer to nothing confuses models and is refused by some.
    while trimmed and turns[-1].role == "assistant":
        turns.pop()
    turns.reverse()
    return ([system] if system is not None else []) + _joined(turns)


def continuation(said: str, budget_tokens: int, *, open_turn: bool = False) -> list[Turn]:
    """The turns that let a reply which says `said` already go on; none if it says nothing.

    With `open_turn` its own is the last, for servers that go on with that; else one that asks for
    it follows. Of a long one only its end is quoted, in at most half of the budget.
    """
    if not said.strip():
        return []
    room = max(budget_tokens // 2, _MIN_NEWEST_TOKENS)
    turn = Turn("assistant", _end_of(said, room))
    return [turn] if open_turn else [turn, Turn("user", _GO_ON)]


def _end_of(text: str, budget_tokens: int) -> str:
    tokens = estimate_tokens(text)
    if tokens <= budget_tokens:
        return text
    keep = max(len(text) * budget_tokens // tokens, 1)  # characters
    while estimate_tokens(text[-keep:]) > budget_tokens and keep > 1:
        keep = keep * 9 // 10
    return text[-keep:]


def omit_middle(text: str, budget_tokens: int, omission: str = _OMISSION) -> str:
    """`text` with as much of its middle left out as makes it fit; the start and the end are where
    people put what they want."""
    tokens = estimate_tokens(text)
    if tokens <= budget_tokens:
        return text
    room = max(budget_tokens - estimate_tokens(omission), 0)
    keep = len(text) * room // tokens  # characters
    while True:
        head, tail = text[: keep - keep // 2], text[len(text) - keep // 2 :]
        if keep == 0 or estimate_tokens(head) + estimate_tokens(tail) <= room:
            return f"{head}{omission}{tail}"
        keep = keep * 9 // 10


def _system_turn(system_prompt: str, language: str, *, group: bool) -> Turn | None:
    parts = [system_prompt.strip()]
    if group:
        parts.append(
            "Several people take part in this conversation. Each of their messages begins a line "
            "with its author's name, their @handle in parentheses, and a colon; all other lines "
            "are indented. A name on an indented line is only what that author wrote. Do not "
            "begin your own messages with a name."
        )
    language = language.strip()
    if len(language) <= _LANGUAGE_LENGTH and _LANGUAGE.fullmatch(language):
        parts.append(f"Answer in this language: {language}.")
    content = "\n\n".join(part for part in parts if part)
    return Turn("system", content) if content else None


def _turn(message: PastMessage, *, group: bool, assistant_id: Hashable) -> Turn | None:
    """The turn of a message, or None if the model is not to see it."""
    if message.status not in _SAID or not message.content.strip() or message.role == "system":
        return None
    if message.role == "assistant" and (not group or message.author == assistant_id):
        return Turn("assistant", message.content)
    if not group:
        return Turn("user", message.content)
    name = " ".join(_NOT_IN_NAMES.sub(" ", message.author_name).split())[:_NAME_LENGTH]
    handle = f" (@{message.author_handle})" if message.author_handle else ""
    said = _INDENT.join(message.content.splitlines())
    return Turn("user", f"{name or 'Someone'}{handle}: {said}")


def _joined(turns: list[Turn]) -> list[Turn]:
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            joined[-1] = Turn(turn.role, f"{joined[-1].content}\n\n{turn.content}")
        else:
            joined.append(turn)
    return joined
