"""Single values that users write: times on the command line."""

import argparse

import pytest

from stride_ros.text.wording import time_label
from stride_ros.user_files.values import seconds_argument


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("65.2", 65.2),
        ("1:05.2", 65.2),
        ("0:09", 9.0),
        ("2:5", 125.0),
        ("90:00", 5400.0),
        (" 3 ", 3.0),
        ("-1", -1.0),
    ],
)
def test_times_are_read_in_seconds_and_as_commands_print_them(text, seconds):
    assert seconds_argument(text) == pytest.approx(seconds)
    assert seconds_argument(time_label(abs(seconds))) == pytest.approx(abs(seconds))


@pytest.mark.parametrize("text", ["", "soon", "1:60", "1:2:3", ":5", "5:", "-1:05", "nan", "inf", "1e99"])
def test_what_is_no_time_is_told_with_both_forms(text):
    with pytest.raises(
        argparse.ArgumentTypeError, match=r"is not a time; write seconds, such as 65\.2, or 1:05\.2"
    ):
        seconds_argument(text)
