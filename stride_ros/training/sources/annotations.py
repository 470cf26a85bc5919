"""Read annotation files in the format of the authors' data, with a video root.

The data is `interlive/stream-data`, `annotations/*.jsonl`. Each line is a JSON object: `{"query": text or
list of texts, "video": {"source", "metadata": {...}}, "segment": [{"start_time", "end_time",
"description"?}], "start_time"?, "end_time"?}`, times in s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.text.foreign import visible
from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import TOLERANCE, Intake, Recording, check_event
from stride_ros.training.sources.video import VideoFile
from stride_ros.user_files.json_file import parse_json
from stride_ros.user_files.text import decoded, open_bytes, refuse_encoding
from stride_ros.user_files.values import seconds_of, shown, spelling, text_of

LONGEST_LINE = 4 * 2**20  # bytes
EXTENSIONS = (".mp4", ".avi", ".mkv", ".webm", ".m4v", ".mov", ".mpg", ".3gp")


def annotation_recordings(files: Sequence[Path], video_root: Path, intake: Intake) -> list[Recording]:
    """One recording for each item whose video exists.

    Invalid items are left out and logged with their lines; SourceError if none is left.
    """
    if not video_root.is_dir():
        raise SourceError(
            f"The video root {video_root} is not a folder; give the folder that holds the videos."
        )
    videos = _Videos(video_root)
    recordings = []
    asked: dict[tuple[str, str], tuple[str, str]] = {}  # by video and spelling: the query and its location
    for file in files:
        for number, data in _lines(file):
            where = f"{file}:{number}"
            try:
                line = decoded(data, "the line", number).rstrip()
                recording = _recording(parse_json(line, "the line", number), videos, intake, where)
            except (ConfigError, SourceError) as error:
                intake.skip(str(error).rstrip("."), where)
                continue
            if recording is not None:
                for query in recording.queries:
                    key = (recording.video.name, spelling(query))
                    first, there = asked.setdefault(key, (query, where))
                    if query != first and there != where:
                        intake.report(
                            f"{where}: {shown(query)} is another spelling of the query at {there}, so the "
                            "events of each count as absent for the other; put both into one item."
                        )
                recordings.append(recording)
                intake.used += 1
    if not recordings:
        names = ", ".join(str(file) for file in files)
        raise SourceError(
            f"{names} contain no usable annotation; see the messages above, or check the video root."
        )
    return recordings


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The non-empty lines of a file, numbered from 1; lines have a maximum length, the file does not."""
    name = f"The annotations {file}"
    with open_bytes(file, name) as handle:
        number = 0
        while data := handle.readline(LONGEST_LINE + 1):
            number += 1
            if number == 1:
                refuse_encoding(data, name)
            if len(data) > LONGEST_LINE:
                raise ConfigError(
                    f"{name} have more than {LONGEST_LINE / 2**20:g} MiB in line {number}; write one JSON "
                    "object per line."
                )
            if data.strip():
                yield number, data


def _recording(item: Any, videos: _Videos, intake: Intake, where: str) -> Recording | None:
    if not isinstance(item, dict):
        raise ConfigError("the line is not a JSON object")
    queries = _queries(item.get("query"))
    video = videos.find(item.get("video"))
    first = seconds_of(item.get("start_time") or 0.0, "start_time")
    last = seconds_of(item.get("end_time") or video.end, "end_time")
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
            intake.skip(str(error).rstrip("."), f"{where}, segment {index}")
    return Recording(video, queries, tuple(sorted(events, key=lambda event: event.start))) if events else None


def _queries(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or "" in texts:
        raise ConfigError("the item has no query")
    return tuple(text_of(text, "query") for text in texts)


def _event(segment: Any, first: float, last: float) -> Event:
    if not isinstance(segment, dict):
        raise ConfigError("the segment is not an object")
    start, end = check_event(segment.get("start_time"), segment.get("end_time"))
    if start < first - TOLERANCE or end > last + TOLERANCE or end <= 0:
        raise ConfigError(
            f"the event {start:g} to {end:g} s is outside the video's {first:g} to {last:.1f} s"
        )
    text = segment.get("description")
    return Event(start, end, "" if text is None else text_of(text, "description", empty=True))


class _Videos:
    """Finds and opens the videos of items below one folder; each is opened once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[Path, VideoFile] = {}
        self._index: dict[str, Path] | None = None

    def find(self, video: Any) -> VideoFile:
        """The video of an item. ConfigError if it names none, SourceError if it is missing or broken."""
        metadata = video.get("metadata") if isinstance(video, dict) else None
        name = (metadata.get("video") or metadata.get("video_id")) if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not name:
            raise ConfigError("the item names no video")
        source = video.get("source") or ""
        try:
            if not isinstance(source, str):
                raise ValueError
            path = self._path(source, name)
        except (OSError, ValueError) as error:  # "/", a zero character, a name of 300 characters
            raise ConfigError(f"{shown(name)} of {shown(source)} cannot be a file name") from error
        if path not in self._open:
            self._open[path] = VideoFile(path)
        return self._open[path]

    def _path(self, source: str, name: str) -> Path:
        """Find by path below the source's folder or the root, or by name anywhere below the root."""
        for folder in (self._root / source, self._root / source / "videos", self._root):
            for candidate in (
                folder / name,
                *((folder / name).with_name(Path(name).name + e) for e in EXTENSIONS),
            ):
                if candidate.is_file():
                    return candidate
        if self._index is None:  # public data sets have many folder layouts: one scan finds all videos
            self._index = {p.stem: p for p in sorted(self._root.rglob("*")) if p.suffix.lower() in EXTENSIONS}
        stem = Path(name).stem if Path(name).suffix.lower() in EXTENSIONS else Path(name).name
        if stem not in self._index:
            raise SourceError(f"the video {visible(name)} is not below {self._root}")
        return self._index[stem]
