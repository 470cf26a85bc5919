"""Code shared by the scorers of all benchmarks: what was left out and why, JSON, and tables."""

from __future__ import annotations

import functools
import json
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stride_ros.text.foreign import visible

NOTES = 12  # maximum number of notes that are printed; the JSON has all


class OfficialStops(Exception):
    """The official scorer raises an exception of type `kind` here; `why` says what is wrong."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


@dataclass
class Score:
    """The score of one set of predictions.

    result: the content of the JSON, by the keys that docs/benchmarks.md lists. tables: headings and rows, in
    the order of printing. notes: what was odd about the input, one sentence each. left_out: what is not
    scored, one entry each, with the reason in `why`. counts: numbers of items by kind.
    """

    result: dict[str, Any]
    tables: list[tuple[Sequence[str], list[Sequence[str]]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """The result as JSON; NaN becomes the text "NaN", since JSON has no NaN."""
        whole = {**self.result, "counts": self.counts, "left_out": self.left_out, "notes": self.notes}
        return json.dumps(_plain(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def stopped(error: OfficialStops) -> dict[str, Any]:
    """The JSON for a figure that the official scorer does not give."""
    return {"official": "raises", "type": error.kind, "message": error.why}


def left_out(where: Mapping[str, Any], error: OfficialStops) -> dict[str, Any]:
    """The entry for an item that is not scored; `where`: the keys that identify it."""
    return {**where, "official": "raises", "type": error.kind, "why": error.why}


def named(where: Mapping[str, Any]) -> str:
    """The name of an item in sentences: "tvg charades_sta 3"."""
    return visible(" ".join(str(value) for value in where.values()), 120)


def percent(value: Any, digits: int = 1) -> str:
    """A fraction in percent for printing; a dash if there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-"
    return "NaN" if math.isnan(value) else f"{100 * value:.{digits}f}"


def mean(values: Sequence[float]) -> float | None:
    """The mean; None without values."""
    return plain_sum(values) / len(values) if values else None


def plain_sum(values: Iterable[float]) -> float:
    """The sum, rounded after each value: that of Python from 3.12 on can differ in the last printed digit."""
    return functools.reduce(operator.add, values, 0)


def lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column is left-aligned, the others right-aligned."""
    table = [list(headings), *map(list, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    return [
        "  ".join(
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    return value
