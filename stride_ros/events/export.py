"""Export events as JSON, CSV and Parquet files, and the runs of recordings as replays wrote them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.events.record import Event
from stride_ros.events.search import Found
from stride_ros.events.times import SECOND, iso_time
from stride_ros.user_files.output import make_folder, whole_file, write_whole

SCHEMA = "stride_ros/events/1"
# Columns of tables, with their types in Parquet.
_COLUMNS = {
    "key": "string",
    "origin": "string",
    "camera": "string",
    "watch": "string",
    "query": "string",
    "span_id": "uint64",
    "start": "timestamp",
    "end": "timestamp",
    "start_ns": "int64",
    "end_ns": "int64",
    "start_seconds": "float64",
    "end_seconds": "float64",
    "confidence": "float64",
    "state": "string",
    "sentence": "string",
    "status": "string",
    "error": "string",
    "speaker": "string",
    "model": "string",
    "picture": "bool_",
    "pose_frame": "string",
    **{f"pose_{name}": "float64" for name in ("x", "y", "z", "qx", "qy", "qz", "qw")},
}


def to_json(found: Found, *, encoding: str = "utf-8") -> str:
    """The events found as one JSON document, for a stream with this encoding."""
    events = [_entry(event) for event in found.events]
    document = {"schema": SCHEMA, "total": found.total, "events": events}
    # A stream with few letters would write the others in a way that JSON does not know.
    ensure_ascii = codecs.lookup(encoding).name != "utf-8"
    return json.dumps(document, indent=1, ensure_ascii=ensure_ascii) + "\n"


def write_csv(path: Path, events: Sequence[Event]) -> None:
    """Write a table with a row for each event. Raises SourceError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_row, events))
    write_whole(path, text.getvalue())


def write_parquet(path: Path, events: Sequence[Event]) -> None:
    """Write the same table as Parquet. Raises ConfigError without pyarrow, and SourceError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs the package 'pyarrow'; install it with: pip install pyarrow, or use --csv."
        ) from error
    # Microseconds, which all readers know.
    types = {kind: getattr(pyarrow, kind)() for kind in _COLUMNS.values() if kind != "timestamp"}
    types["timestamp"] = pyarrow.timestamp("us", tz="UTC")
    schema = pyarrow.schema([(name, types[kind]) for name, kind in _COLUMNS.items()])
    rows = [{**_row(event), "start": _us(event.start_ns), "end": _us(event.end_ns)} for event in events]
    with whole_file(path) as beside:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), beside)


def write_runs(folder: Path, origins: Sequence[str], run: Callable[[str], str | None]) -> list[str]:
    """Write the runs of these recordings into a folder, as JSON; return the recordings without a run.

    Raises SourceError.
    """
    make_folder(folder)
    missing: list[str] = []
    taken: set[str] = set()
    for origin in origins:
        document = run(origin)
        if document is None:
            missing.append(origin)
            continue
        stem = re.sub(r"[^\w.-]", "_", Path(origin).name)[:100] or "recording"
        name, number = f"{stem}.json", 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}.json"
        taken.add(name)
        write_whole(folder / name, document)
    return missing


def _entry(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    pose = event.pose
    return {
        "key": event.key,
        "origin": event.origin,
        "camera": event.camera,
        "watch": event.watch,
        "query": event.query,
        "span_id": event.span_id,
        "start": iso_time(event.start_ns),
        "end": iso_time(event.end_ns),
        "start_ns": event.start_ns,
        "end_ns": event.end_ns,
        **_in_recording(event),
        "confidence": round(event.confidence, 4),
        "state": event.state,
        "sentence": event.sentence,
        "status": event.status,
        "error": event.error,
        "speaker": event.speaker,
        "model": event.model,
        "picture": event.has_picture,
        "pose": None
        if pose is None
        else {
            "frame": pose.frame,
            "position": list(pose.position),
            "orientation": list(pose.orientation),
            "stamp_ns": pose.stamp_ns,
        },
    }


def _in_recording(event: Event) -> dict[str, float | None]:
    """Seconds from the first image of the recording."""
    if event.first_ns is None:
        return {"start_seconds": None, "end_seconds": None}
    return {
        "start_seconds": round((event.start_ns - event.first_ns) / SECOND, 4),
        "end_seconds": None if event.end_ns is None else round((event.end_ns - event.first_ns) / SECOND, 4),
    }


def _us(stamp_ns: int | None) -> int | None:
    return None if stamp_ns is None else stamp_ns // 1000


def _row(event: Event) -> dict[str, Any]:
    """An event as a row of a table."""
    entry = _entry(event)
    pose = entry.pop("pose")
    numbers = [None] * 7 if pose is None else [*pose["position"], *pose["orientation"]]
    names = [name for name in _COLUMNS if name.startswith("pose_")][1:]
    return {
        **entry,
        "pose_frame": None if pose is None else pose["frame"],
        **dict(zip(names, numbers, strict=True)),
    }
