"""Names that are read alike."""

import pytest

from core.lookalikes import looks


@pytest.mark.parametrize(
    "other",
    [
        "ALICE",
        "a l i c e",
        "Álicé",
        "ａｌｉｃｅ",
        "аlісе",
        "Αlice",
        "𝐀𝐥𝐢𝐜𝐞",
        "A1ice",
        "aIice",
        "a.lice\u200d",
    ],
)
def test_what_is_read_as_alice_looks_like_alice(other: str) -> None:
    assert looks(other) == looks("alice")


def test_what_is_not_read_as_alice_does_not() -> None:
    names = ["alicia", "bob", "ali", "Алиса", "艾丽斯", "أليس", ""]
    assert looks("alice") not in {looks(name) for name in names}
    assert len({looks(name) for name in names}) == len(names)


def test_what_cannot_be_seen_looks_like_nothing() -> None:
    assert looks(" \u200b\u2060\u3164"[:3]) == ""


def test_letters_that_are_read_as_one_are_one() -> None:
    assert looks("rnax vvilliam") == looks("max william")
