"""Read a labels file: the events of one recording, written by hand.

YAML: a list of `- {query: ..., start: ..., end: ..., text: ...}`, times in s from the first image, `text`
(what to say) optional.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.text.foreign import visible
from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import TOLERANCE, Intake, Recording, Video, check_event
from stride_ros.user_files.values import shown, spelling, text_of
from stride_ros.user_files.yaml_file import line_of, plain, read_yaml

if TYPE_CHECKING:
    import yaml

FIELDS = ("query", "start", "end", "text")


def labelled_recordings(video: Video, labels: Path, intake: Intake) -> list[Recording]:
    """One recording for each query of a labels file.

    SourceError if nothing in the file is usable; invalid labels are left out and logged with their lines. Two
    spellings of a query, such as with another case or without the full stop, are one query.
    """
    events: dict[str, list[Event]] = {}
    first: dict[str, str] = {}  # spelling -> the query as first written
    for node in read_labels(labels):
        where = f"{labels}:{line_of(node)}"
        try:
            query, event = _label(plain(node))
        except ConfigError as error:
            intake.skip(str(error).rstrip("."), where)
            continue
        if event.start < video.start - TOLERANCE or event.end > video.end + TOLERANCE:
            intake.skip(f"the event is outside the {video.end:.1f} s that are used", where)
            continue
        asked = first.setdefault(spelling(query), query)
        if asked != query:  # as two queries, each would teach that the other's events do not count
            intake.report(f"{where}: taken as another spelling of the query {shown(asked)}")
        events.setdefault(asked, []).append(event)
        intake.used += 1
    if not events:
        raise SourceError(
            f"The labels file {labels} has no usable labels; see the messages above and correct it."
        )
    return [
        Recording(video, (query,), tuple(sorted(found, key=lambda event: event.start)))
        for query, found in events.items()
    ]


def read_labels(path: Path) -> list[yaml.Node]:
    """The unparsed items of a labels file.

    SourceError if it cannot be read or is not a list, ConfigError if it is not YAML.
    """
    root = read_yaml(path, f"The labels file {path}")
    if root is None:
        return []
    if root.id != "sequence":
        raise SourceError(
            f"{path} is not a list of labels; write items like `- {{query: ..., start: 1, end: 2}}`."
        )
    return list(root.value)


def _label(item: Any) -> tuple[str, Event]:
    if not isinstance(item, dict):
        raise ConfigError("the label is not a mapping with query, start and end")
    unknown = [visible(key, 40) for key in item if key not in FIELDS]
    if unknown:
        raise ConfigError(f"unknown field {', '.join(unknown)} (known: {', '.join(FIELDS)})")
    query, text = item.get("query"), item.get("text")
    if query is None or query == "":
        raise ConfigError("the label has no query")
    query = text_of(query, "query")
    text = "" if text is None else text_of(text, "text", empty=True)
    start, end = check_event(item.get("start"), item.get("end"))
    return query, Event(start, end, text)
