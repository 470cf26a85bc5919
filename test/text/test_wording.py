"""Text of others inside our sentences stays on its line: no forged log line, no command to a terminal."""

from __future__ import annotations

import pytest

from stride_ros.errors import ConfigError, FrameError, StrideError
from stride_ros.text.wording import escaped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\n[FATAL] stop", "x\\n[FATAL] stop"),
        ("a\r\x1b[2Jb\x07", "a\\r\\x1b[2Jb\\x07"),
        ("next\u2028line\x85", "next\\u2028line\\x85"),
        ("left\u202etfel", "left\\u202etfel"),
        ("half \ud83d", "half \\ud83d"),
        ("do\u200bor \u2060\ufeff\xad", "do\\u200bor \\u2060\\ufeff\\xad"),
        ("\u200eleft \u061cright", "\\u200eleft \\u061cright"),
        ("tag \U000e0041 \u3164", "tag \\U000e0041 \\u3164"),
        ("join\u200cers \u0600 12", "join\u200cers \u0600 12"),
        ("سلام 你好 \U0001f468\u200d\U0001f469 ü", "سلام 你好 \U0001f468\u200d\U0001f469 ü"),
    ],
)
def test_control_characters_are_shown_and_words_are_left_alone(text, expected):
    assert escaped(text) == expected
    assert escaped(expected) == expected, "twice does no harm"


@pytest.mark.parametrize("kind", [StrideError, ConfigError, FrameError])
def test_an_error_that_quotes_others_is_one_line(kind):
    error = kind("Encoding 'x\n[FATAL] [1.0] [safety]: STOP\x1b[2J' is not known; publish rgb8.")
    assert str(error) == "Encoding 'x\\n[FATAL] [1.0] [safety]: STOP\\x1b[2J' is not known; publish rgb8."
