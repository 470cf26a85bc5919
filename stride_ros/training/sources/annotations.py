"""Annotation files in the form of the authors' data (`interlive/stream-data`, `annotations/*.jsonl`) with a
video root.

One JSON object a line: `{"query": text or list of texts, "video": {"source", "metadata": {...}}, "segment":
[{"start_time", "end_time", "description"?}], "start_time"?, "end_time"?}`, times in s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import TOLERANCE, Intake, Recording, check_event
from stride_ros.training.sources.video import VideoFile

EXTENSIONS = (".mp4", ".avi", ".mkv", ".webm", ".m4v", ".mov", ".mpg", ".3gp")


def annotation_recordings(files: Sequence[Path], video_root: Path, intake: Intake) -> list[Recording]:
    """One recording for each item whose video is there. An item that is wrong is left out and told with its
    line; SourceError when nothing is left."""
    if not video_root.is_dir():
        raise SourceError(f"The video root {video_root} is no folder; give the folder that holds the videos.")
    videos = _Videos(video_root)
    recordings = []
    for file in files:
        for number, line in _lines(file):
            where = f"{file}:{number}"
            try:
                recording = _recording(line, videos, intake, where)
            except (ConfigError, SourceError) as error:
                intake.skip(str(error), where)
                continue
            if recording is not None:
                recordings.append(recording)
                intake.used += 1
    if not recordings:
        names = ", ".join(str(file) for file in files)
        raise SourceError(
            f"{names} hold no usable annotation; see the messages above, or check the video root."
        )
    return recordings


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise SourceError(f"Annotations {file} cannot be read ({error.strerror}); check the name.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"Annotations {file} are not UTF-8 text; give JSON lines.") from error


def _recording(line: str, videos: _Videos, intake: Intake, where: str) -> Recording | None:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"the line is not JSON ({error})") from error
    if not isinstance(item, dict):
        raise ConfigError("the line is not a JSON object")
    queries = _queries(item.get("query"))
    video = videos.find(item.get("video"))
    first = float(item.get("start_time") or 0.0)
    last = float(item.get("end_time") or video.end)
    if abs(last - video.end) >= TOLERANCE:
        raise ConfigError(f"end_time {last:g} s does not fit the video's {video.end:.1f} s")
    segments = item.get("segment")
    if not isinstance(segments, list) or not segments:
        raise ConfigError("the item has no segment")
    events = []
    for index, segment in enumerate(segments, 1):
        try:
            events.append(_event(segment, first, video.end))
        except ConfigError as error:
            intake.skip(str(error), f"{where}, segment {index}")
    return Recording(video, queries, tuple(sorted(events, key=lambda event: event.start))) if events else None


def _queries(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if (
        not isinstance(texts, list)
        or not texts
        or any(not isinstance(t, str) or not t.strip() for t in texts)
    ):
        raise ConfigError("the item has no query")
    return tuple(texts)


def _event(segment: Any, first: float, last: float) -> Event:
    if not isinstance(segment, dict):
        raise ConfigError("the segment is not an object")
    start, end = check_event(segment.get("start_time"), segment.get("end_time"))
    if start < first - TOLERANCE or end > last + TOLERANCE or end <= 0:
        raise ConfigError(
            f"the event {start:g} to {end:g} s lies outside the video's {first:g} to {last:.1f} s"
        )
    return Event(start, end, str(segment.get("description") or ""))


class _Videos:
    """Finds and opens the videos of items below one folder; each is opened once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[Path, VideoFile] = {}
        self._index: dict[str, Path] | None = None

    def find(self, video: Any) -> VideoFile:
        """The video an item names. ConfigError for an item without one, SourceError when it is missing or
        broken.
        """
        metadata = video.get("metadata") if isinstance(video, dict) else None
        name = (metadata.get("video") or metadata.get("video_id")) if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not name:
            raise ConfigError("the item names no video")
        path = self._path(str(video.get("source") or ""), name)
        if path not in self._open:
            self._open[path] = VideoFile(path)
        return self._open[path]

    def _path(self, source: str, name: str) -> Path:
        """By name below the folder of the item's source, below the root, or anywhere below it by the bare
        name.
        """
        for folder in (self._root / source, self._root / source / "videos", self._root):
            for candidate in (
                folder / name,
                *((folder / name).with_name(Path(name).name + e) for e in EXTENSIONS),
            ):
                if candidate.is_file():
                    return candidate
        if self._index is None:  # the public data sets lie in folders of many shapes: one walk finds them all
            self._index = {p.stem: p for p in sorted(self._root.rglob("*")) if p.suffix.lower() in EXTENSIONS}
        stem = Path(name).stem if Path(name).suffix.lower() in EXTENSIONS else Path(name).name
        if stem not in self._index:
            raise SourceError(f"the video {name} is not below {self._root}")
        return self._index[stem]
