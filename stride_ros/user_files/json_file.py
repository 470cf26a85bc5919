"""Read JSON within limits, with the line of errors.

The standard library's parser does not give the lines of valid JSON; `locate` scans the text again, which is
slow and only done for an error message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.text.foreign import visible
from stride_ros.user_files.text import read_text

LARGEST = 48 * 2**20  # bytes of a file
DEPTH = 64
VALUES = 4_000_000  # a day of decisions on one query
_ESCAPE = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.S,
)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s"\[\]{},:]+', re.S)


def read_json(path: str | Path, name: str = "") -> tuple[Any, str]:
    """The value of a JSON file, and its text for `locate`. Raises SourceError and ConfigError."""
    name = name or str(path)
    text = read_text(path, LARGEST, name)
    return parse_json(text, name), text


def parse_json(text: str, name: str, first: int = 1) -> Any:
    """The value of a JSON text, whose first line is line `first` of the file called `name`.

    Lone surrogates, as in file names that are not text, stay escaped, since they cannot be printed. Raises
    ConfigError.
    """
    if text.count(",") + text.count("[") + text.count("{") > VALUES:
        raise ConfigError(f"{name} has more than {VALUES:,} values; give the right file, or split it.")
    if "\\u" in text:
        text = _ESCAPE.sub(lambda found: "\\" + found[0] if found[2] else found[0], text)
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        _refuse_deep(text[: error.pos], name, first)  # Pythons differ in which is noticed first
        line = error.lineno + first - 1
        raise ConfigError(f"{name} is not JSON at line {line} ({error.msg}); correct it.") from error
    except _Wrong as error:
        line = _line_of_wrong(text, error) + first - 1
        raise ConfigError(f"{name} has {error} at line {line}; correct it.") from error
    except RecursionError:
        value = None
    if value is None or _deep(value):
        _refuse_deep(text, name, first)
    return value


def _refuse_deep(text: str, name: str, first: int) -> None:
    for path, line in _walk(text):
        if len(path) > DEPTH:
            raise ConfigError(
                f"{name} has more than {DEPTH} levels of nesting at line {line + first - 1}; write it "
                "with fewer levels."
            )


class _Wrong(Exception):
    """A part that JSON's grammar allows but that cannot be used; `token` is the part as written, or a key."""

    def __init__(self, text: str, token: str = "", key: str | None = None) -> None:
        super().__init__(text)
        self.token, self.key = token, key


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise _Wrong("an integer of more than 64 bits", digits)
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _Wrong("a number outside the range of floats", digits)
    return value


def _refuse_constant(token: str) -> Any:
    raise _Wrong(f"{token}, which is not a number", token)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Wrong(f"the key {visible(key, 40)!r} twice", key=key)
            seen.add(key)
    return found


def _deep(value: Any) -> bool:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(DEPTH):
        level = [
            part
            for item in level
            for part in (item.values() if isinstance(item, dict) else item)
            if isinstance(part, list | dict)
        ]
        if not level:
            return False
    return True


def locate(text: str, path: Sequence[str | int]) -> int:
    """The line of the value at `path` (keys and indices), or of the last part of the path that exists."""
    wanted, best, length = tuple(path), 1, 0
    for here, line in _walk(text):
        if len(here) >= length and here == wanted[: len(here)]:
            best, length = line, len(here)
            if here == wanted:
                break
    return best


def _line_of_wrong(text: str, wrong: _Wrong) -> int:
    line = 1
    if wrong.key is not None:
        seen: set[tuple[str | int, ...]] = set()
        for path, line in _walk(text):
            if path in seen and path[-1] == wrong.key:
                return line
            seen.add(path)
        return line
    position = 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", position, found.start())
        position = found.start()
        if found[0] == wrong.token:
            break
    return line


def _walk(text: str) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Path and line of every value of a JSON text, in order; ends just beyond the depth limit."""
    path: list[str | int] = []
    kinds: list[str] = []
    line, position, key = 1, 0, False
    for found in _TOKEN.finditer(text):
        token = found[0]
        line += text.count("\n", position, found.start())
        position = found.start()
        if token in ("]", "}"):
            if kinds:
                kinds.pop()
                path.pop()
            key = False
        elif token == ",":
            if kinds and kinds[-1] == "[":
                path[-1] = int(path[-1]) + 1
            key = bool(kinds) and kinds[-1] == "{"
        elif token == ":":
            key = False
        elif key:
            try:
                path[-1] = json.loads(token)
            except ValueError:
                path[-1] = token
        else:
            yield tuple(path), line
            if token in ("[", "{"):
                kinds.append(token)
                path.append(0 if token == "[" else "")
                key = token == "{"
            if len(path) > DEPTH:
                yield tuple(path), line
                return
