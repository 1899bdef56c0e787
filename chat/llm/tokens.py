"""Token counts without a vocabulary.

tiktoken fetches its vocabularies over the network and knows only OpenAI's models, so history is
trimmed, and usage that a provider keeps to itself is stated, by an estimate.
"""

from collections.abc import Iterable

from chat.llm.spec import Turn, Usage

# English prose runs at four to five characters a token, code and other European languages at
# three to four (OpenAI's rule of thumb is four). Other scripts take about one token a character
# in the older vocabularies, and two thirds of one in the newer.
_ASCII_PER_TOKEN = 4
_OTHER_BYTES_PER_TOKEN = 2
# What the chat templates put around each message (OpenAI's cookbook counts three to four).
TOKENS_PER_TURN = 4


class TokenEstimate:
    """A running estimate over pieces of text, the same however the text is cut."""

    def __init__(self) -> None:
        self._ascii = 0
        self._other = 0

    def add(self, text: str) -> None:
        """Count `text`."""
        if text.isascii():
            self._ascii += len(text)
        else:
            ascii_only = len(text.encode("ascii", "ignore"))
            self._ascii += ascii_only
            self._other += len(text.encode("utf-8", "replace")) - ascii_only

    @property
    def tokens(self) -> int:
        """About how many tokens were added."""
        return -(-self._ascii // _ASCII_PER_TOKEN) - (-self._other // _OTHER_BYTES_PER_TOKEN)


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` is: one per four ASCII characters, one per two UTF-8 bytes of
    any others; rather too many than too few. O(length)."""
    estimate = TokenEstimate()
    estimate.add(text)
    return estimate.tokens


def estimate_turns(turns: Iterable[Turn]) -> int:
    """About how many tokens a whole prompt is."""
    return sum(TOKENS_PER_TURN + estimate_tokens(turn.content) for turn in turns)


def estimate_usage(turns: Iterable[Turn], text: str, reasoning: str = "") -> Usage:
    """The usage of a reply whose provider said nothing, for instance since it was stopped."""
    return Usage(
        input_tokens=estimate_turns(turns),
        output_tokens=estimate_tokens(text) + estimate_tokens(reasoning),
        estimated=True,
    )
