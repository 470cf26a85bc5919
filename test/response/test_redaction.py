"""Keys and passwords are removed from what others say, in whatever spelling they send them back."""

from __future__ import annotations

import base64
import json
from html import escape
from urllib.parse import quote

import pytest

from stride_ros.response.redaction import Secrets

KEY = 'sk-Pr0j/a+B"c\\d=9&xYz_01234567'
DATA = KEY.encode()


def inside(count: int) -> str:
    """The key in base64 among other bytes."""
    return base64.b64encode(count * b"u" + DATA + count * b"v").decode()


SPELLINGS = {
    "as it is": KEY,
    "in capitals": KEY.upper(),
    "in a header whose case is swapped": f"aUTHORIZATION: bEARER {KEY.swapcase()}",
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded in small letters": quote(KEY, safe="").lower(),
    "percent-encoded twice": quote(quote(KEY, safe=""), safe=""),
    "every byte percent-encoded": "".join(f"%{byte:02X}" for byte in DATA),
    "in JSON": json.dumps(KEY),
    "in JSON in JSON": json.dumps(json.dumps({"key": KEY})),
    "in JSON, slashes escaped": json.dumps(KEY).replace("/", "\\/"),
    "every letter escaped": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "in HTML": escape(KEY),
    "in HTML, every letter by number": "".join(f"&#{ord(letter)};" for letter in KEY),
    "in hexadecimal": DATA.hex().upper(),
    "in base64": base64.b64encode(DATA).decode(),
    "in base64 for URLs, without its end": base64.urlsafe_b64encode(DATA).decode().rstrip("="),
    "over two lines": f"{KEY[:12]}\r\n    {KEY[12:]}",
    "with spaces": " ".join(KEY),
    "with what is not seen": "\u200b".join(KEY),
    "cut": KEY[:16],
    "its end": KEY[-16:],
    **{f"in base64 behind {count} bytes": inside(count) for count in range(6)},
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_key_is_removed_in_every_spelling(spelling):
    text = Secrets(KEY).remove(f"Wrong key: {SPELLINGS[spelling]} (401)")
    assert text.startswith("Wrong key: ")
    assert text.endswith(" (401)")
    assert "***" in text
    assert not any(KEY[at : at + 6].lower() in text.lower() for at in range(len(KEY) - 5))
    if "base64" in spelling:
        around = text.removeprefix("Wrong key: ").removesuffix(" (401)").split("***")
        assert all(len(part) <= 10 for part in around), "only what was around it is left"


def test_a_placeholder_is_removed_as_it_is_alone():
    assert Secrets("EMPTY").remove("The key EMPTY is wrong; messages is empty") == (
        "The key *** is wrong; messages is empty"
    )


@pytest.mark.parametrize(
    "text", ["s" * 100_000, "\\" * 100_000, "%25" * 30_000, "&amp;" * 20_000, "sk-Pr0j/" * 9000]
)
def test_a_long_text_ends(text):
    assert Secrets(KEY).remove(text) == text


@pytest.mark.parametrize("length", [1, 2, 7, 29, 100])
def test_a_key_is_removed_from_a_text_that_comes_in_pieces(length):
    text = f"It shows {KEY} and {KEY[:10]}, s"
    safe, out = Secrets(KEY).stream(), ""
    for at in range(0, len(text), length):
        out += safe.feed(text[at : at + length])
    assert out + safe.finish() == f"It shows *** and {KEY[:10]}, s"


@pytest.mark.parametrize("word", ["EMPTY", "password", "not-needed", "lm-studio"])
def test_what_stands_for_no_key_may_be_said(word):
    safe = Secrets(word).stream()
    assert safe.feed(f"An {word} cup falls.") + safe.finish() == f"An {word} cup falls."
