"""The searchable form of texts, the same for the index and for search texts.

Case, accents and width of letters are ignored. Languages written without spaces have no words to index: each
letter is indexed as a word, and a search text is found as a sequence of letters, wherever it is and however
short.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from stride_ros.errors import ConfigError
from stride_ros.text.foreign import mended

MAX_LETTERS, MAX_TERMS = 1000, 32

# Thai, Lao, Tibetan, Burmese, Khmer; kana, Han and Hangul (Korean has spaces, but particles are attached to
# words).
_SPACELESS = re.compile(
    "([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    "\u3041-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c"
    "\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])"
)
# Accents and points of Latin, Greek, Cyrillic, Hebrew, Arabic and Syriac letters, and what is invisible in
# words. The marks of other scripts are vowels, or make other letters.
_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    "\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u00ad\u034f\u061c\u180b-\u180f\u200d-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)
# Latin letters that Unicode does not take for others with an accent.
_LETTERS = str.maketrans(
    {
        "\u0131": "i",
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
_NUMBER = re.compile(r"\d+")
_QUOTES = dict.fromkeys(map(ord, "“”„‟«»\uff02"), '"')
_TERM = re.compile(r'"([^"]*)"?(\*?)|([^\s"]+)')


@dataclass(frozen=True)
class Term:
    """A word, or several in a row; with `prefix`, words that begin with the last one match, too."""

    words: str
    prefix: bool


def indexed(text: str, *, folded: bool = True) -> str:
    """The indexed form of a text; not `folded`: as in logs of the first version, with most accents."""
    text = unicodedata.normalize("NFKC", mended(text).replace("\0", " ")).casefold()
    if folded:
        text = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text)))
        text = text.translate(_LETTERS)
    # Numbers are separate words; otherwise there would be as many words as bays in a warehouse, and the index
    # would go through all of them for bay*.
    return _NUMBER.sub(r" \g<0> ", _SPACELESS.sub(r" \1 ", text))


def terms(text: str, *, folded: bool = True) -> list[Term]:
    """The terms of a search text, words, "phrases" and prefix*, which must all be found; none if it is empty.

    Everything else is taken literally. `folded`: see `indexed`. Raises ConfigError for a text without a word.
    """
    if len(text) > MAX_LETTERS:
        raise ConfigError(f"The text to find is longer than {MAX_LETTERS} characters; give a few words.")
    found: list[Term] = []
    for phrase, star, word in _TERM.findall(text.translate(_QUOTES)):
        words = phrase or word
        term = Term(indexed(words.rstrip("*"), folded=folded).strip(), bool(star) or word.endswith("*"))
        if any(unicodedata.category(letter)[0] in "LNM" for letter in term.words):
            found.append(term)
    if text.strip() and not found:
        raise ConfigError(f'There are no words in {text.strip()!r}; give words, "phrases" or prefix*.')
    if len(found) > MAX_TERMS:
        raise ConfigError(f"The text to find has more than {MAX_TERMS} words; give a few.")
    return found


def expression(wanted: list[Term]) -> str:
    """The terms as an FTS5 expression."""
    quoted = (f'"{term.words.replace(chr(34), " ")}"{" *" if term.prefix else ""}' for term in wanted)
    return " AND ".join(quoted)
