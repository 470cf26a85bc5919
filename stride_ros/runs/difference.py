"""Compare two runs on the same recording: `stride-ros replay --diff A.json B.json`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.runs.intervals import overlap
from stride_ros.runs.record import SCHEMA
from stride_ros.text.wording import time_label
from stride_ros.user_files.json_file import locate, read_json
from stride_ros.user_files.shape import OrNull, misfit, spelled

# The parts that are compared; the rest of a run (see `record`) may be missing.
_SPAN = {
    "start": float,
    "end": float,
    "state": str,
    "onset": float,
    "commentary": OrNull({"text": str}),
}
_RUN = {"source": dict, "settings": dict, "queries": [{"query": str, "spans": [_SPAN]}]}


def read_run(path: str | Path) -> dict[str, Any]:
    """Read the JSON of a run; SourceError if it cannot be read, ConfigError with the line if it is wrong."""
    document, text = read_json(path)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ConfigError(
            f"{path} is not a run of schema {SCHEMA}; write it with `stride-ros replay --json`."
        )
    wrong = misfit(document, _RUN)
    if wrong is not None:
        raise ConfigError(
            f"{path} is not a run: at line {locate(text, wrong.path)}, {spelled(wrong.path)} {wrong.problem};"
            " write it with `stride-ros replay --json`."
        )
    asked = [query["query"] for query in document["queries"]]
    if len(set(asked)) < len(asked):
        twice = next(i for i, query in enumerate(asked) if query in asked[:i])
        raise ConfigError(
            f"{path} has the same query twice, again at line {locate(text, ('queries', twice, 'query'))};"
            " write it with `stride-ros replay --json`."
        )
    return document


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """One line for each change of settings, spans and words, from old to new; empty if they agree."""
    for part in ("source", "settings"):
        before, after = old.get(part, {}), new.get(part, {})
        for name in sorted(set(before) | set(after)):
            if before.get(name) != after.get(name):
                yield f"{part} {name}: {_value(before, name)} -> {_value(after, name)}"
    spans_before = {query["query"]: query["spans"] for query in old["queries"]}
    spans_after = {query["query"]: query["spans"] for query in new["queries"]}
    for query in dict.fromkeys([*spans_before, *spans_after]):
        if query not in spans_after:
            yield f"query no longer asked: {query}"
        elif query not in spans_before:
            yield f"query newly asked: {query}"
        else:
            for line in _span_differences(spans_before[query], spans_after[query]):
                yield f"{line}   {query}"


def _span_differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[str]:
    left = list(after)
    for span in before:
        best = max(left, key=lambda other: _overlap(span, other), default=None)
        if best is None or _overlap(span, best) == 0:
            yield f"gone     {_interval(span)}"
            continue
        left.remove(best)
        if _interval(span) != _interval(best) or span["state"] != best["state"]:
            yield f"changed  {_interval(span)} {span['state']} -> {_interval(best)} {best['state']}"
        if span["onset"] != best["onset"]:
            yield f"onset    {time_label(span['onset'])} -> {time_label(best['onset'])} of {_interval(best)}"
        if _words(span) != _words(best):
            yield f"said     {_quoted(span)} -> {_quoted(best)} at {time_label(best['onset'])}"
    for span in left:
        yield f"new      {_interval(span)} {span['state']}"


def _overlap(span: dict[str, Any], other: dict[str, Any]) -> float:
    return overlap(span["start"], span["end"], other["start"], other["end"])


def _interval(span: dict[str, Any]) -> str:
    return f"{time_label(span['start'])} - {time_label(span['end'])}"


def _value(values: dict[str, Any], name: str) -> str:
    """A setting in readable form; a setting that a run does not list has its default."""
    if name not in values:
        return "default"
    value = values[name]
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(span: dict[str, Any]) -> str:
    words = _words(span)
    return "nothing" if words is None else repr(words)


def _words(span: dict[str, Any]) -> str | None:
    return span["commentary"]["text"] if span["commentary"] else None
