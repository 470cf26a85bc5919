"""Text of others inside our sentences stays on its line: no forged log line, no command to a terminal."""

from __future__ import annotations

import pytest

from stride_ros.errors import ConfigError, FrameError, StrideError
from stride_ros.text.wording import counted_found, escaped, length_label


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


@pytest.mark.parametrize(
    ("seconds", "label"),
    [
        (0, "0 s"),
        (0.4, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (40.2, "40 s"),
        (60.2, "60 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (125, "2.1 min"),
        (3596, "59.9 min"),
        (3597.1, "1 h"),
        (4800, "1.3 h"),
        (4_500_000, "1,250 h"),
    ],
)
def test_a_length_of_video_is_told_in_the_unit_that_people_would_use(seconds, label):
    assert length_label(seconds) == label


def test_what_was_retracted_is_counted_apart():
    assert counted_found(8, 1) == "8 spans (and 1 retracted)"
    assert counted_found(1, 0) == "1 span"
    assert counted_found(0, 2, "event") == "0 events (and 2 retracted)"
