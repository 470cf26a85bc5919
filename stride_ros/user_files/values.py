"""Check single values of a user's file, texts and times, and format wrong ones for messages."""

from __future__ import annotations

import argparse
import math
import re
import reprlib
import unicodedata
from typing import Any

from stride_ros.errors import ConfigError

LONGEST_TEXT = 10_000  # characters of a query or a sentence
LATEST = 1e12  # s, far beyond any clock; ROS times end at 4.3e9 s

_CLOCK = re.compile(r"(\d{1,9}):([0-5]?\d(?:\.\d*)?)", re.ASCII)  # minutes:seconds

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlong = 30


def shown(value: Any) -> str:
    """A value in Python notation, shortened; lists and dicts are only named."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge integer"  # more than 4300 digits cannot be converted to text
    return _SHORT.repr(value)


def text_of(value: Any, name: str, *, empty: bool = False) -> str:
    """Return a text, blank only if `empty`. ConfigError if it is not text, too long, or unprintable."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {shown(value)} and not text; write it in quotes.")
    if len(value) > LONGEST_TEXT:
        raise ConfigError(f"{name} has {len(value):,} characters; use at most {LONGEST_TEXT:,}.")
    for letter in value:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\r\n\x85":
            raise ConfigError(f"{name} has the control character U+{ord(letter):04X}; remove it.")
    if not empty and not value.strip():
        raise ConfigError(f"{name} is empty; write the query.")
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a number that can be a time in s: neither a bool nor infinite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= LATEST  # false for a NaN; an int is compared exactly, of whatever size


def seconds_of(value: Any, name: str) -> float:
    """Return a time in s. Raises ConfigError if it cannot be one."""
    if not is_number(value):
        raise ConfigError(f"{name} is {shown(value)}, not a time in seconds")
    return float(value)


def seconds_argument(text: str) -> float:
    """A time in s as the type of a command-line argument: 65.2, or 1:05.2 as commands print times.

    The YAML of labels and ground truth has both forms, too.
    """
    parts = _CLOCK.fullmatch(text.strip())
    try:
        value = float(text) if parts is None else 60 * int(parts[1]) + float(parts[2])
    except ValueError:
        value = math.nan
    if not is_number(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write seconds, such as 65.2, or 1:05.2")
    return value


def spelling(query: str) -> str:
    """The normalised form of a query: case, white space and a final full stop do not count."""
    text = " ".join(unicodedata.normalize("NFKC", query).split()).casefold()
    return re.sub(r"[\s.!?…。]+$", "", text) or text
