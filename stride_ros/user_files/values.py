"""Single values of a user's file: texts and times, and what a sentence shows of a wrong one."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from typing import Any

from stride_ros.errors import ConfigError

LONGEST_TEXT = 10_000  # characters of a query or a sentence
LATEST = 1e12  # s, far beyond every clock; the times of ROS end at 4.3e9 s

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlong = 30


def shown(value: Any) -> str:
    """A value as it is written in Python, cut short; lists and dicts are only named."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge integer"  # more than 4300 digits cannot even be written
    return _SHORT.repr(value)


def text_of(value: Any, name: str, *, empty: bool = False) -> str:
    """A text, blank only if it may be `empty`. ConfigError when it is none, too long, or unprintable."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {shown(value)} and not text; write it in quotes.")
    if len(value) > LONGEST_TEXT:
        raise ConfigError(f"{name} has {len(value):,} characters; use at most {LONGEST_TEXT:,}.")
    for letter in value:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\r\n\x85":
            raise ConfigError(f"{name} has the control character U+{ord(letter):04X}; remove it.")
    if not empty and not value.strip():
        raise ConfigError(f"{name} is empty; write what was asked.")
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a number within what can be a time in s: neither a bool, nor infinite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= LATEST  # false for a NaN; an int is compared exactly, of whatever size


def seconds_of(value: Any, name: str) -> float:
    """A time in s. Raises ConfigError when it cannot be one."""
    if not is_number(value):
        raise ConfigError(f"{name} is {shown(value)}, not a time in seconds")
    return float(value)


def spelling(query: str) -> str:
    """What is the same for two spellings of one query: case, white space and the final stop do not count."""
    text = " ".join(unicodedata.normalize("NFKC", query).split()).casefold()
    return re.sub(r"[\s.!?…。]+$", "", text) or text
