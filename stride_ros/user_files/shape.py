"""Check the shape of a document, and find the first place that does not match.

A shape is a class (`str`, `dict`, `list`), `float` for a finite number, `OrNull` of a shape, a list with the
shape of its items, or a dict with the shapes of its required keys; further keys are allowed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from stride_ros.user_files.values import is_number, shown

_NAMES: dict[Any, str] = {str: "text", dict: "an object", list: "a list"}


class OrNull(NamedTuple):
    """Null, or a value with a shape."""

    shape: Any


class Misfit(NamedTuple):
    """The path of a value (keys and indices), and what is wrong there in words."""

    path: tuple[str | int, ...]
    problem: str


def misfit(value: Any, shape: Any, path: tuple[str | int, ...] = ()) -> Misfit | None:
    """The first part of `value` that does not have its shape, or None."""
    if isinstance(shape, OrNull):
        return None if value is None else misfit(value, shape.shape, path)
    if shape is float:
        return None if is_number(value) else Misfit(path, f"is {shown(value)} and not a number")
    kind: Any = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind):
        return Misfit(path, f"is {shown(value)} and not {_NAMES[kind]}")
    if isinstance(shape, dict):
        for key, part in shape.items():
            if key not in value:
                return Misfit(path, f"lacks {key}")
            found = misfit(value[key], part, (*path, key))
            if found is not None:
                return found
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            found = misfit(item, shape[0], (*path, index))
            if found is not None:
                return found
    return None


def spelled(path: tuple[str | int, ...]) -> str:
    """A path in readable form: queries[0].spans[2].start."""
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return parts.lstrip(".") or "the document"
