"""Text from outside, made such that messages, files and terminals can hold it."""

from __future__ import annotations

import pytest

from stride_ros.text.foreign import Mender, mended, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("A cup ü \U0001f600", "A cup ü \U0001f600"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d", "\ufffd"),
        ("\ude00\ud83d!", "\ufffd\ufffd!"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        ("a\0b", "a\ufffdb"),
    ],
)
def test_what_a_message_cannot_hold_is_replaced_however_it_is_cut(text, expected):
    assert mended(text) == expected
    mender = Mender()
    pieces = "".join(mender.feed(letter) for letter in text) + mender.finish()
    assert pieces == expected
    pieces.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" two\nlines\tand  spaces ", "two lines and spaces"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \ud83d", "half \ufffd"),
        ("x" * 20, "x" * 9 + "…"),
    ],
)
def test_a_text_inside_a_sentence_is_one_printable_line(text, expected):
    assert visible(text, 10 if len(expected) == 10 else 40) == expected
