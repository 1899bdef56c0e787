"""The text the fake model writes: deterministic from a seed, and awkward on purpose."""

import random
import re
import zlib
from collections.abc import Iterator

_WORDS = tuple(
    re.findall(
        r"\w+",
        "the model answers slowly and then at once because a stream is only a queue of words "
        "that nobody has counted yet while rivers clocks lanterns and quiet engines agree",
    )
)

# What breaks naive readers: characters outside the BMP, joined emoji, combining marks, right to
# left, line separators that are no line ends in SSE, Markdown that spans tokens, text that looks
# like tags or like the wire itself, and white space that must survive to the last byte.
_AWKWARD = (
    " naïve",
    " 東京",
    " 🙂",
    " 👩‍👩‍👧‍👦",
    " e\u0301",
    " שלום",
    "\u2028",
    "\u00a0",
    "\ufeff",
    " **bold",
    "** ",
    " `code`",
    "\n\n```python\nprint('hi')\n```\n",
    "\n- item",
    "\n1. one\n2. two\n",
    "| a | b |\n|---|---|\n",
    " a < b",
    " <b>",
    " </p>",
    ' "quoted"',
    " back\\slash",
    "\t",
    "\r\n",
    "\n\n",
    "  ",
    "   \n",
    "data: [DONE]\n\n",
    " $x^2$",
    " &amp;",
    "",
)


def text_pieces(seed: int, tokens: int) -> Iterator[str]:
    """The pieces, one per token, that the fake model sends for `seed`. Some are empty."""
    source = random.Random(seed)
    for position in range(tokens):
        if source.random() < 0.15:
            yield source.choice(_AWKWARD)
        else:
            word = source.choice(_WORDS)
            yield word.capitalize() if position == 0 else f" {word}"


def expected_text(seed: int, tokens: int) -> str:
    """Exactly what a reader of a whole, unbroken reply must end up with."""
    return "".join(text_pieces(seed, tokens))


def continued_seed(seed: int, said: str) -> int:
    """The seed of what the fake model says after `said`, which it is asked to go on from."""
    return zlib.crc32(said.strip().encode(errors="surrogatepass"), seed & 0xFFFFFFFF)


def reasoning_pieces(seed: int, tokens: int) -> Iterator[str]:
    """The pieces of reasoning that precede a reply which has some."""
    return text_pieces(seed + 1_000_003, tokens)


def expected_reasoning(seed: int, tokens: int) -> str:
    """Exactly the reasoning a reader must end up with."""
    return "".join(reasoning_pieces(seed, tokens))
