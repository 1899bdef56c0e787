"""What a name looks like, so that one cannot be taken for another's.

Unicode's own list of confusables has thousands of characters and no library that is kept up;
what people read as a Latin letter or a digit is a short table beside Unicode's decompositions.
"""

import unicodedata
from typing import Final

# Cyrillic, Greek, Armenian and other letters that are drawn like a Latin one; and within Latin,
# what most typefaces draw alike.
_LETTERS: Final = str.maketrans(
    {
        letter: latin
        for latin, letters in {
            "a": "аαɑ",
            "b": "вβƅьƀ",
            "c": "сϲⅽᴄ",
            "d": "ԁđɗ",
            "e": "еεєҽɛ",
            "f": "ƒſ",
            "g": "ɡցğɢ",
            "h": "нһհħ",
            "j": "јϳ",
            "k": "кκҝ",
            "l": "iіιı1|ӏⅰⅼɩǀł",
            "m": "мⅿ",
            "n": "ոηռ",
            "o": "оοօ0øσᴏѳө",
            "p": "рρþ",
            "q": "ԛզ",
            "r": "гᴦɾ",
            "s": "ѕꜱƽ",
            "t": "тτŧ",
            "u": "υսμʋ",
            "v": "νѵᴠ",
            "w": "ԝωшա",
            "x": "хχ×ⅹ",
            "y": "уγүʏ",
            "z": "ᴢʐ",
        }.items()
        for letter in letters
        if letter != latin
    }
)
# Of several that are read as one.
_PAIRS: Final = (("rn", "m"), ("vv", "w"))


def looks(name: str) -> str:
    """Return what a name looks like: two that are read alike give the same text.

    Without case, accents, width, spaces and what cannot be seen, and in Latin letters.
    """
    # Mathematical capitals have no lower case before they are decomposed.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    letters = "".join(one for one in plain if one.isalnum() or one in "|×ǀ")
    drawn = letters.translate(_LETTERS)
    for pair, one in _PAIRS:
        drawn = drawn.replace(pair, one)
    return drawn
