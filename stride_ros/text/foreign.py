"""Make text from outside safe for ROS strings, JSON files and terminals."""

from __future__ import annotations

from stride_ros.text.wording import escaped

UNKNOWN = "\ufffd"  # Unicode's replacement for unreadable characters
MAX_REASON = 1000  # characters of a published reason: enough for our longest sentences with a path


def mended(text: str) -> str:
    """Return `text` with split surrogate pairs joined, and lone surrogates and NUL replaced by U+FFFD.

    JSON can contain both; a ROS string, which is UTF-8 that ends at NUL, can contain neither.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", UNKNOWN)


class Mender:
    """`mended` for a text that comes in pieces, which may split a pair."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str) -> str:
        """Add a piece; return what is complete, mended."""
        piece, self._half = self._half + piece, ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return mended(piece)

    def finish(self) -> str:
        """Return the rest at the end of the text."""
        half, self._half = self._half, ""
        return mended(half)


def as_reason(text: str) -> str:
    """Return a reason for publication: one line of limited length that may quote other texts."""
    return visible(text, MAX_REASON)


def visible(text: str, longest: int = 300) -> str:
    """Return `text` on one line for use in a sentence: white space joined, control characters escaped.

    It is cut off after `longest` characters.
    """
    line = " ".join(mended(text[: 8 * longest]).split())
    line = escaped(line)
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
