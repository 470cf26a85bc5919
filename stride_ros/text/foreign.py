"""Text from outside, made such that a ROS string, a JSON file and a terminal can hold it."""

from __future__ import annotations

from stride_ros.text.wording import escaped

UNKNOWN = "\ufffd"  # what Unicode puts in place of what cannot be read
MAX_REASON = 1000  # characters of a reason on a topic: our longest sentences with a path in them


def mended(text: str) -> str:
    """Return `text` with halves of surrogate pairs joined, and lone halves and NUL replaced by U+FFFD.

    JSON can spell both; a ROS string, which is UTF-8 that ends at NUL, can hold neither.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", UNKNOWN)


class Mender:
    """`mended` for a text that comes in pieces: a pair may be split between two of them."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """Return what is complete, mended."""
        piece, self._half = self._half + piece, ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return mended(piece)

    def finish(self) -> str:
        """Return what is left at the end of the text."""
        half, self._half = self._half, ""
        return mended(half)


def as_reason(text: str) -> str:
    """Return a reason as it is published: a sentence on one line that may quote others, of bounded length."""
    return visible(text, MAX_REASON)


def visible(text: str, longest: int = 300) -> str:
    """Return `text` on one line for use inside a sentence: white space joined, control characters escaped.

    It is cut after `longest` characters.
    """
    line = " ".join(mended(text[: 8 * longest]).split())
    line = escaped(line)
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
