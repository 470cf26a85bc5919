"""A labels file: what happens in one recording, written by hand.

YAML: a list of `- {query: ..., start: ..., end: ..., text: ...}`, times in s from the first image, `text`
(what to say) optional.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import TOLERANCE, Intake, Recording, Video, check_event

FIELDS = ("query", "start", "end", "text")


def labelled_recordings(video: Video, labels: Path, intake: Intake) -> list[Recording]:
    """One recording for each query of a labels file.

    SourceError when nothing of the file is usable; a label that is wrong is left out and told with its line.
    """
    events: dict[str, list[Event]] = {}
    for line, item in read_labels(labels):
        where = f"{labels}:{line}"
        try:
            query, event = _label(item)
        except ConfigError as error:
            intake.skip(str(error), where)
            continue
        if event.start < video.start - TOLERANCE or event.end > video.end + TOLERANCE:
            intake.skip(f"the event lies outside the {video.end:.1f} s that are used", where)
            continue
        events.setdefault(query, []).append(event)
        intake.used += 1
    if not events:
        raise SourceError(
            f"The labels file {labels} has no usable label; see the messages above and correct it."
        )
    return [
        Recording(video, (query,), tuple(sorted(found, key=lambda event: event.start)))
        for query, found in events.items()
    ]


def read_labels(path: Path) -> list[tuple[int, Any]]:
    """The items of a labels file with their line numbers. SourceError when it is not a YAML list."""
    import yaml

    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise SourceError(
                f"{path} is no list of labels; write items like `- {{query: ..., start: 1, end: 2}}`."
            )
        return [
            (item.start_mark.line + 1, yaml.safe_load(yaml.serialize(item, Dumper=yaml.SafeDumper)))
            for item in node.value
        ]
    except OSError as error:
        raise SourceError(
            f"The labels file {path} cannot be read ({error.strerror}); check its name."
        ) from error
    except yaml.YAMLError as error:
        raise SourceError(
            f"The labels file {path} is not YAML ({_first_line(error)}); correct it."
        ) from error


def _label(item: Any) -> tuple[str, Event]:
    if not isinstance(item, dict):
        raise ConfigError("the label is not a mapping with query, start and end")
    unknown = [str(key) for key in item if key not in FIELDS]
    if unknown:
        raise ConfigError(f"unknown field {', '.join(unknown)} (known: {', '.join(FIELDS)})")
    query, text = item.get("query"), item.get("text") or ""
    if not isinstance(query, str) or not query.strip():
        raise ConfigError("the label has no query")
    start, end = check_event(item.get("start"), item.get("end"))
    return query, Event(start, end, str(text))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
