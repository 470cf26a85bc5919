"""Read a labels file: the events of one recording, written by hand.

YAML: a list of `- {query: ..., start: ..., end: ..., text: ...}`, times in s from the first image, `text`
(what to say) optional. A query that has only `- {query: ..., none: [start, end]}` never happens in the
recording. The same file may serve `replay --expect`: what only concerns the comparison, `tolerance` and
`thresholds`, has no effect here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, plural
from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import TOLERANCE, Intake, Recording, Video, check_event
from stride_ros.user_files.values import shown, spelling, text_of
from stride_ros.user_files.yaml_file import line_of, plain, read_yaml

if TYPE_CHECKING:
    import yaml

FIELDS = ("query", "start", "end", "text")
_FIELDS_OF_COMPARISON = ("tolerance",)
_ITEM_OF_COMPARISON = {"thresholds"}
_QUIET_ITEM = {"query", "none"}


def labelled_recordings(video: Video, labels: Path, intake: Intake) -> list[Recording]:
    """One recording for each query of a labels file.

    SourceError when nothing of the file is usable; a wrong label is left out, and a message names its line.
    Two spellings of a query, such as with another case or without the full stop, are one query. Of a
    recording whose first part is used, events that begin later are counted, and one that goes on is cut.
    """
    whole = getattr(video, "whole", video.end)
    events: dict[str, list[Event]] = {}
    quiet: list[tuple[str, float, float, str]] = []  # query, the range in which it is absent, the item
    later = 0
    first: dict[str, str] = {}  # spelling -> the query as it is written first

    def known(query: str, where: str) -> str:
        asked = first.setdefault(spelling(query), query)
        if asked != query:  # as two queries, each would teach that the other's events do not count
            intake.report(f"{where} is taken as another spelling of the query {shown(asked)}.")
        return asked

    for node in read_labels(labels):
        where = f"{labels}:{line_of(node)}"
        try:
            item = plain(node)
            if isinstance(item, dict) and set(item) == _ITEM_OF_COMPARISON:
                continue
            if isinstance(item, dict) and set(item) == _QUIET_ITEM:
                query, begin, end = _quiet(item)
                quiet.append((known(query, where), begin, end, where))
                continue
            query, event = _label(item)
        except ConfigError as error:
            intake.skip(str(error).rstrip("."), where)
            continue
        if event.start < video.start - TOLERANCE or event.end > whole + TOLERANCE:
            intake.skip(f"the event is outside the {whole:.1f} s of the recording", where)
            continue
        if video.end < whole and event.start >= video.end:
            intake.leave(f"after the first {video.end:g} s")
            later += 1
            continue
        if video.end < whole and event.end > video.end:
            event = replace(event, end=video.end)
        events.setdefault(known(query, where), []).append(event)
        intake.used += 1
    absent = []
    for query, begin, end, where in quiet:
        if any(event.start < end and event.end > begin for event in events.get(query, ())):
            intake.skip("an event of its query is in the range; correct one of them", where)
        elif query not in events and query not in absent:
            absent.append(query)
            intake.used += 1
    if not events and not absent:
        remedy = "see the messages above and correct it"
        if later:
            remedy = f"{counted(later, 'event')} of it {plural(later, 'begins', 'begin')} after the first"
            remedy += f" {video.end:g} s, so use more of the recording"
        raise SourceError(f"The labels file {labels} has no usable label; {remedy}.")
    return [
        Recording(video, (query,), tuple(sorted(found, key=lambda event: event.start)))
        for query, found in events.items()
    ] + [Recording(video, (query,), ()) for query in absent]


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


def _quiet(item: dict[str, Any]) -> tuple[str, float, float]:
    """The query and the range (s) of an item that says that nothing happens."""
    stretch = item["none"]
    if not isinstance(stretch, list) or len(stretch) != 2:
        raise ConfigError("none is not a list of two times, [start, end]")
    return text_of(item["query"], "query"), *check_event(*stretch)


def _label(item: Any) -> tuple[str, Event]:
    if not isinstance(item, dict):
        raise ConfigError("the label is not a mapping with query, start and end")
    unknown = [visible(key, 40) for key in item if key not in FIELDS + _FIELDS_OF_COMPARISON]
    if unknown:
        raise ConfigError(f"unknown field {', '.join(unknown)} (known: {', '.join(FIELDS)})")
    query, text = item.get("query"), item.get("text")
    if query is None or query == "":
        raise ConfigError("the label has no query")
    query = text_of(query, "query")
    text = "" if text is None else text_of(text, "text", empty=True)
    start, end = check_event(item.get("start"), item.get("end"))
    return query, Event(start, end, text)
