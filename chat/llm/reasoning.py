"""Inline `<think>…</think>` told apart from the answer, while it streams."""

from chat.llm.spec import Delta

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkSplitter:
    """Splits content into text and reasoning at a leading `<think>` block.

    Models that think inline begin with the tag; anywhere later it is text like any other, since a
    reply may well be about such tags. At most one tag's length is held back, and only where a tag
    may be about to come; `flush` gives what is left. Both tags are dropped, nothing else.
    """

    def __init__(self) -> None:
        self._state = "before"  # → "inside" → "before" → … → "after"
        self._held = ""

    @property
    def passing(self) -> bool:
        """Whether all content from here on is plain text, so that feeding can be skipped."""
        return self._state == "after"

    def feed(self, content: str) -> Delta:
        """What is certain after this piece of content; either part, or both, may be empty."""
        text: list[str] = []
        reasoning: list[str] = []
        content = self._held + content
        self._held = ""
        while content:
            if self._state == "after":
                text.append(content)
                break
            if self._state == "inside":
                inner, closed, content = content.partition(_CLOSE)
                if not closed:
                    keep = _tail_that_begins(inner, _CLOSE)
                    reasoning.append(inner[: len(inner) - keep])
                    self._held = inner[len(inner) - keep :]
                    break
                reasoning.append(inner)
                self._state = "before"
                continue
            stripped = content.lstrip()
            if stripped.startswith(_OPEN):
                text.append(content[: len(content) - len(stripped)])
                content = stripped[len(_OPEN) :]
                self._state = "inside"
            elif _OPEN.startswith(stripped):
                self._held = content
                break
            else:
                self._state = "after"
        return Delta("".join(text), "".join(reasoning))

    def flush(self) -> Delta:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, ""
        return Delta(reasoning=held) if self._state == "inside" else Delta(text=held)


def _tail_that_begins(text: str, tag: str) -> int:
    """The length of the longest end of `text` that is a beginning of `tag`."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0


class StorableText:
    """Makes a stream of text fit for UTF-8 and PostgreSQL.

    Servers that write JSON in ASCII may cut a character outside the BMP into two surrogates, in
    two chunks: they are joined again. NUL and surrogates without a partner become U+FFFD.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """`text` repaired; a high surrogate at its end waits for the next piece."""
        if text.isascii() and not self._held and "\0" not in text:
            return text
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held = text[-1]
            text = text[:-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text.replace("\0", "\ufffd")

    def flush(self) -> str:
        """What a surrogate still held becomes at the end."""
        held, self._held = self._held, ""
        return "\ufffd" if held else ""


def storable(text: str) -> str:
    """`text` that came whole, repaired."""
    repairing = StorableText()
    return repairing.feed(text) + repairing.flush()
