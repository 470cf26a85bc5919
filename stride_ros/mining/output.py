"""The folder of the results, with one writer: runs as JSON, the event log, the journal and the gallery."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from stride_ros.activation.frame_rate import NOTE_BEGINS as RATE_NOTE
from stride_ros.events.gallery import write_gallery
from stride_ros.events.log import EventLog
from stride_ros.events.record import Event, event_key
from stride_ros.events.recording import PicturedEvent, write_recording
from stride_ros.events.search import EventReader, Search
from stride_ros.events.stretch import replay_commands
from stride_ros.mining.finding import Recording
from stride_ros.mining.jobs import Result
from stride_ros.mining.journal import Entry, Journal
from stride_ros.mining.settings import Settings
from stride_ros.qwen3_vl.checkpoint import BEYOND_EMBEDDED
from stride_ros.terminal import one_line
from stride_ros.text.order import natural
from stride_ros.text.wording import counted, counted_found, length_label
from stride_ros.user_files.output import make_folder, remove_unfinished, unwritable, write_whole

EVENTS, RUNS, JOURNAL = "events.db", "runs", "mining.jsonl"
_RUN = re.compile(r"-[0-9a-f]{16}\.json$")  # of the names that `_write` gives


class Output:
    """Writes the results; a context manager, so that after an error no recording is half-written.

    Raises SourceError and EventLogError for what cannot be written or is being written by another program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced = 0  # recordings whose results of other queries or settings were replaced
        self.model_notes: dict[str, None] = {}  # how the model was used beyond what it was trained for
        make_folder(folder / RUNS)
        self._stack = ExitStack()
        try:
            self._log = self._stack.enter_context(EventLog(folder / EVENTS))  # this locks it
            self.journal = Journal(folder / JOURNAL)
            self._stack.callback(self.journal.close)
            self._remove_leftovers()
            self._reader = self._stack.enter_context(EventReader(folder / EVENTS))
            self._logged = set(self._reader.origins())
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def origin(self, recording: Recording) -> str:
        """The recording's name in the log: its path as first given."""
        known = self.journal.entries.get(recording.place)
        return known.origin if known is not None else str(recording.path)

    def has(self, place: str, key: str) -> bool:
        """Whether all results for this content and these settings exist."""
        entry = self.journal.entries.get(place)
        return entry is not None and entry.key == key and self._is_whole(entry)

    def same(self, key: str) -> Entry | None:
        """A recording with the same content that was mined with the same settings."""
        entries = (entry for entry in self.journal.entries.values() if entry.key == key)
        return next((entry for entry in entries if self._is_whole(entry)), None)

    def write(self, recording: Recording, key: str, result: Result) -> None:
        """Store the result of a recording, replacing its earlier one."""
        before = self.journal.entries.get(recording.place)
        self.replaced += before is not None and not before.problem and before.key != key
        for note in json.loads(result.document)["notes"]:
            if note == BEYOND_EMBEDDED or note.startswith(RATE_NOTE):
                self.model_notes[note] = None
        self._write(recording, key, result.document, result.events, result.seconds)

    def copy(self, entry: Entry, recording: Recording) -> int:
        """Store the result of a recording with the same content for this one; return the number of events."""
        document = json.loads((self.folder / entry.file).read_text("utf-8"))
        document["source"]["name"] = recording.path.name
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        origin = self.origin(recording)
        events = []
        for event in self._events(entry.origin):
            key = event_key(origin, event.camera, event.watch, event.span_id)
            jpeg = self._reader.picture(event.key) or b""
            events.append(PicturedEvent(replace(event, key=key, origin=origin), jpeg))
        self._write(recording, entry.key, text, reversed(events), entry.seconds)
        return len(events)

    def problem(self, place: str, key: str) -> str:
        """Why this content cannot be used, if known."""
        entry = self.journal.entries.get(place)
        return entry.problem if entry is not None and entry.key == key else ""

    def fail(self, recording: Recording, key: str, problem: str) -> None:
        """Store why a recording cannot be used, and remove its earlier result.

        `key`: empty if it should be tried again.
        """
        origin = self.origin(recording)
        self._log.remove(origin)
        self._log.commit()
        self._logged.discard(origin)
        self._journal(Entry(recording.place, origin, key, problem=problem))

    def gallery(self, settings: Settings, wanted: Iterable[Recording]) -> Path:
        """Write index.html. `wanted`: the recordings of this run, whose errors it lists."""
        entries = {entry.origin: entry for entry in self.journal.entries.values()}
        listed = [self.journal.entries.get(recording.place) for recording in wanted]
        errors = [(entry.origin, entry.problem) for entry in listed if entry is not None and entry.problem]
        done = [entry for entry in entries.values() if not entry.problem]
        events = self._reader.find(Search(limit=None)).events
        queries = dict.fromkeys([*settings.queries, *(event.query for event in events)])
        watched = "; ".join(one_line(query).rstrip(".") for query in queries)
        length = length_label(sum(entry.seconds for entry in done))
        lead = f"{self.summary} in {counted(len(done), 'recording')}, {length} of video."

        def place(origin: str) -> str:
            return entries[origin].place if origin in entries else origin

        return write_gallery(
            self.folder,
            sorted(events, key=lambda event: (natural(event.origin), event.start_ns, event.key)),
            lambda event: self._reader.picture(event.key),
            title="What was found",
            lead=f"{lead} Watched for: {watched}." if watched else lead,
            errors=errors,
            command=replay_commands(self._reader.run, place),
        )

    @property
    def summary(self) -> str:
        """How many events were found and retracted, in words."""
        found = self._reader.find(Search(limit=0)).total
        retracted = self._reader.find(Search(limit=0, retracted=True)).total - found
        return counted_found(found, retracted, "event")

    def _is_whole(self, entry: Entry) -> bool:
        return not entry.problem and entry.origin in self._logged and (self.folder / entry.file).is_file()

    def _events(self, origin: str) -> tuple[Event, ...]:
        return self._reader.find(Search(origins=[origin], limit=None, retracted=True)).events

    def _write(
        self, recording: Recording, key: str, document: str, events: Iterable[PicturedEvent], seconds: float
    ) -> None:
        origin = self.origin(recording)
        file = f"{RUNS}/{_file_name(recording.path.name)}-{key[:16]}.json"
        write_whole(self.folder / file, document)
        write_recording(self._log, origin, document, events)
        self._logged.add(origin)
        self._journal(Entry(recording.place, origin, key, file, seconds))

    def _remove_leftovers(self) -> None:
        """Remove what a run that was killed has written and not finished."""
        for folder in (self.folder, self.folder / RUNS):
            remove_unfinished(folder)
        known = {entry.file for entry in self.journal.entries.values()}
        try:
            for path in (self.folder / RUNS).iterdir():
                if _RUN.search(path.name) and f"{RUNS}/{path.name}" not in known:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder / RUNS, error) from error

    def _journal(self, entry: Entry) -> None:
        before = self.journal.entries.get(entry.place)
        self.journal.write(entry)
        if before is None or not before.file or before.file == entry.file:
            return
        if not any(other.file == before.file for other in self.journal.entries.values()):
            with suppress(OSError):
                (self.folder / before.file).unlink()


def _file_name(name: str) -> str:
    """A recording's name in a form that every file system accepts in file names."""
    return re.sub(r"[^\w.-]", "_", name)[:80] or "recording"
