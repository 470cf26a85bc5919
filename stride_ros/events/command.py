"""`stride-ros find`: search the events of a log by words, time, camera and confidence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.events.rows import storable
from stride_ros.terminal import Style, one_line, say, tell_notes
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, counted_found, escaped
from stride_ros.user_files.output import is_stdout, refuse_same_files
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.events.search import EventReader, Found, Search

_LIMIT = 20
_MINED = "mining.jsonl"  # a file in the folders of `stride-ros mine`
_NAMED = 5  # known names in a note about an unknown one


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `find`."""
    parser = subparsers.add_parser(
        "find",
        help="find events in an event log",
        description="Find events in a log that the event_log node, mine or replay --events wrote, newest"
        ' first. TEXT: words, "phrases" and prefix*, all of which must occur in the query or the sentence of'
        " an event; without it all events are listed. Times are those of the images, in the time zone of this"
        " machine (TZ), which is printed with them; JSON and tables have UTC.",
    )
    parser.add_argument(
        "text", nargs="?", default="", metavar="TEXT", help="what to find (default: everything)"
    )
    parser.add_argument("--events", type=path_argument, required=True, metavar="FILE", help="the event log")
    which = parser.add_argument_group("which events")
    which.add_argument(
        "--since",
        metavar="TIME",
        help="that begin then or later: 2026-11-01, 2026-11-01T14:30 (of this"
        " machine's time zone; +01:00, UTC or Z after it: of that one), or 2h (ago)",
    )
    which.add_argument(
        "--until", metavar="TIME", help="that begin at this time or earlier; a date includes the whole day"
    )
    for name, text in (
        ("camera", "from this camera"),
        ("watch", "from the watch with this id"),
        ("recording", "from this recording, by its path as given, or from this robot"),
    ):
        which.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME", help=f"{text}; repeat for several"
        )
    which.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="minimum confidence, 0 to 1 (default 0)",
    )
    which.add_argument("--retracted", action="store_true", help="also list false alarms")
    which.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"maximum number of events; 0: all (default {_LIMIT}, or all when writing files)",
    )
    results = parser.add_argument_group("results")
    results.add_argument("--json", action="store_true", help="print JSON")
    for name, metavar, text in (
        ("report", "DIR", "write a page with pictures"),
        ("csv", "FILE", "write a CSV table"),
        ("parquet", "FILE", "write a Parquet table (needs pyarrow)"),
        ("mcap", "FILE", "write spans, commentary and pictures as messages in an MCAP file"),
        ("runs", "DIR", "write the JSON of each recording, as replay --json does"),
    ):
        results.add_argument(f"--{name}", type=path_argument, metavar=metavar, help=text)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print and write the events found; returns 0 even if there are none."""
    from stride_ros.events.search import EventReader, Search
    from stride_ros.events.times import given_time

    if arguments.limit is not None and arguments.limit < 0:
        raise ConfigError("--limit must be 0 (all) or more; correct the value.")
    names = ("report", "csv", "parquet", "mcap", "runs")
    files = [getattr(arguments, name) for name in names]
    outputs = {f"--{name}": file for name, file in zip(names, files, strict=True)}
    refuse_same_files(outputs, {"--events": arguments.events})
    piped = ["--json"] * arguments.json + [name for name, file in outputs.items() if is_stdout(file)]
    if len(piped) > 1:
        raise ConfigError(f"{' and '.join(piped)} both write to standard output; write one to a file.")
    if arguments.report is not None and (arguments.report / _MINED).exists():
        raise ConfigError(
            f"--report names {arguments.report}, whose page is that of `stride-ros mine`; use another folder."
        )
    limit = arguments.limit if arguments.limit is not None else _LIMIT if not any(files) else 0
    since = given_time(arguments.since) if arguments.since is not None else None
    until = given_time(arguments.until, end_of_day=True) if arguments.until is not None else None
    if since is not None and until is not None and since > until:
        raise ConfigError(f"--since {arguments.since} is after --until {arguments.until}; swap them.")
    search = Search(
        arguments.text,
        cameras=arguments.camera,
        watches=arguments.watch,
        origins=arguments.recording,
        since_ns=since,
        until_ns=until,
        min_confidence=arguments.min_confidence,
        limit=limit or None,
        retracted=arguments.retracted,
    )
    with EventReader(arguments.events) as reader:
        search = replace(search, origins=_recordings(reader, search.origins))
        found = reader.find(search)
        if arguments.json:
            from stride_ros.events.export import to_json

            sys.stdout.write(to_json(found, encoding=sys.stdout.encoding or "utf-8"))
        else:
            _tell(found, _counted(found, reader, search), arguments)
        tell_notes(_unknown(reader, search))
        if any(files):
            _write(found, reader, search, arguments)
    return 0


def _recordings(reader: EventReader, given: Sequence[str]) -> list[str]:
    """The recordings as the log names them, where they are given as another path to the same place."""
    if not given:
        return []
    known = reader.origins()
    places = {os.path.abspath(name): name for name in known}
    return [name if name in known else places.get(os.path.abspath(name), name) for name in given]


def _unknown(reader: EventReader, search: Search) -> Iterator[str]:
    """A note for each name that the log does not have, with those that it has."""
    for kind, names, all_names in (
        ("camera", search.cameras, reader.cameras),
        ("watch", search.watches, reader.watches),
        ("recording", search.origins, reader.origins),
    ):
        for name in dict.fromkeys(names):
            known = all_names()
            if storable(name) not in known:
                have = ", ".join(each or "(none)" for each in known[:_NAMED]) or "none"
                more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
                yield f"The log has no event of the {kind} {visible(name)}; it has: {visible(have)}{more}."


def _counted(found: Found, reader: EventReader, search: Search) -> str:
    """How many events match, and how many of them were retracted, where those are asked for."""
    if not search.retracted:
        return counted_found(found.total, 0, "event")
    kept = reader.find(replace(search, retracted=False, limit=0)).total
    return counted_found(kept, found.total - kept, "event")


def _tell(found: Found, total: str, arguments: argparse.Namespace) -> None:
    from stride_ros.events.times import in_recording, local_time

    style = Style(sys.stdout)
    shown = found.events if arguments.limit is not None else found.events[:_LIMIT]
    for event in shown:
        begin = local_time(event.start_ns)
        head = style(one_line(event.sentence or event.query), "bold")
        state = "" if event.state == "offset" else f"({event.state})"
        hang = len(begin) + 2
        say("  ".join(part for part in (begin, f"{event.confidence:.2f}", state, head) if part), hang=hang)
        place = style(event.origin, "cyan")
        if at := in_recording(event.start_ns, event.first_ns):
            place += f" at {at} - {in_recording(event.known_end_ns, event.first_ns)}"
        elif event.end_ns is not None:
            place += f" until {local_time(event.end_ns)}"
        camera = f"camera {escaped(event.camera)}" if event.camera else ""
        query = one_line(event.query) if event.sentence else ""
        picture = "with a picture" if event.has_picture else ""
        say(" " * hang + "; ".join(part for part in (place, camera, query, picture) if part), hang=hang)
    if len(shown) < found.total:
        say(f"{len(shown)} of {counted(found.total, 'event')}, the newest; use --limit 0 to show all.")
    else:
        say(f"{total}." if found.total else "No events.")


def _write(found: Found, reader: EventReader, search: Search, arguments: argparse.Namespace) -> None:
    from stride_ros.events import export

    events = found.events
    if arguments.report is not None:
        from stride_ros.events.gallery import write_gallery
        from stride_ros.events.stretch import replay_commands

        total = _counted(found, reader, search)
        if len(events) < found.total:
            total = f"The newest {len(events)} of {total}"
        what = f"“{one_line(search.text)}”" if search.text.strip() else "Events"
        limits = "".join(f", {limit}" for limit in search.described())
        write_gallery(
            arguments.report,
            events,
            lambda event: reader.picture(event.key),
            title=f"{what} in {arguments.events.name}",
            lead=f"{total} in {arguments.events}{limits}.",
            command=replay_commands(reader.run),
        )
    if arguments.csv is not None:
        export.write_csv(arguments.csv, events)
    if arguments.parquet is not None:
        export.write_parquet(arguments.parquet, events)
    if arguments.mcap is not None:
        from stride_ros.events.mcap_export import write_mcap

        write_mcap(arguments.mcap, events, reader.picture)
    if arguments.runs is not None:
        origins = sorted({event.origin for event in events})
        missing = export.write_runs(arguments.runs, origins, reader.run)
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            tell_notes([f"The log has no runs of {', '.join(missing[:3])}{more}; only recordings have runs."])
    if not arguments.json:
        if arguments.report is not None:
            say(f"Report: {escaped(str(arguments.report / 'index.html'))}")
        for name in ("csv", "parquet", "mcap", "runs"):
            path: Path | None = getattr(arguments, name)
            if path is not None:
                say(f"Wrote {escaped(str(path))}.")
