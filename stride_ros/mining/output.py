"""The folder of the results, with one writer: runs as JSON, the event log, the journal and the gallery."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from stride_ros.activation.frame_rate import NOTE_BEGINS as RATE_NOTE
from stride_ros.errors import SourceError
from stride_ros.events.gallery import INDEX, PICTURES, write_gallery
from stride_ros.events.log import EventLog
from stride_ros.events.record import Event, event_key
from stride_ros.events.recording import PicturedEvent, write_recording
from stride_ros.events.rows import storable
from stride_ros.events.search import EventReader, Search
from stride_ros.events.stretch import replay_commands
from stride_ros.mining.finding import Recording
from stride_ros.mining.jobs import Result
from stride_ros.mining.journal import Entry, Journal, refuse_foreign
from stride_ros.mining.settings import Settings
from stride_ros.qwen3_vl.checkpoint import BEYOND_EMBEDDED
from stride_ros.terminal import one_line
from stride_ros.text.order import natural
from stride_ros.text.wording import counted, counted_found, length_label
from stride_ros.user_files.output import make_folder, remove_unfinished, unwritable, write_whole

EVENTS, RUNS, JOURNAL = "events.db", "runs", "mining.jsonl"
_LONGEST_NAME = 150  # bytes of a recording's name in the name of a file, which may have 255


class Output:
    """Writes the results; a context manager, so that after an error no recording is half-written.

    Raises SourceError and EventLogError for what cannot be written or is being written by another program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced = 0  # recordings whose results of other queries or settings were replaced
        self.model_notes: dict[str, None] = {}  # how the model was used beyond what it was trained for
        continued = _claim(folder)
        make_folder(folder / RUNS)
        self._stack = ExitStack()
        try:
            self._log = self._stack.enter_context(EventLog(folder / EVENTS))  # this locks it
            self.journal = Journal(folder / JOURNAL)
            self._stack.callback(self.journal.close)
            for written in (folder, folder / RUNS) if continued else ():
                remove_unfinished(written)
            known = self.journal.entries.values()
            self._files = {entry.file.casefold(): entry.place for entry in known if entry.file}
            self._origins = {entry.origin: entry.place for entry in known}
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
        if known is not None:
            return known.origin
        origin = storable(str(recording.path))
        # The same relative path means another recording in another current directory.
        other = self._origins.get(origin, recording.place) != recording.place
        return storable(recording.place) if other else origin

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
            if _is_about_model(note):
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

    def notes(self, wanted: Iterable[Recording]) -> list[tuple[str, str]]:
        """What was odd about these recordings, such as damage, by name, for those that have any."""
        listed = [self.journal.entries.get(recording.place) for recording in wanted]
        return [
            (entry.origin, " ".join(entry.notes)) for entry in listed if entry is not None and entry.notes
        ]

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
        """Whether the file of a run has what the log has."""
        if entry.problem or entry.origin not in self._logged:
            return False
        document = self._reader.run(entry.origin)
        try:
            written = (self.folder / entry.file).read_bytes()
        except OSError:
            return False
        return document is not None and written == document.encode("utf-8", "backslashreplace")

    def _events(self, origin: str) -> tuple[Event, ...]:
        return self._reader.find(Search(origins=[origin], limit=None, retracted=True)).events

    def _write(
        self, recording: Recording, key: str, document: str, events: Iterable[PicturedEvent], seconds: float
    ) -> None:
        origin = self.origin(recording)
        file = self._file(recording, key)
        self.journal.begin(file)
        write_whole(self.folder / file, document)
        write_recording(self._log, origin, document, events)
        self._logged.add(origin)
        told = json.loads(document)["notes"]
        notes = tuple(note for note in told if not _is_about_model(note))
        self._journal(Entry(recording.place, origin, key, file, seconds, notes=notes))

    def _file(self, recording: Recording, key: str) -> str:
        """The name for the file of a run, which no other recording has.

        That of a copy of a recording may be the same, and then it gets a digest of its location.
        """
        begin = f"{RUNS}/{_file_name(recording.path.name)}-{key[:16]}"
        file = f"{begin}.json"
        if self._files.get(file.casefold(), recording.place) != recording.place:
            file = f"{begin}-{sha256(os.fsencode(recording.place)).hexdigest()[:16]}.json"
        return file

    def _journal(self, entry: Entry) -> None:
        before = self.journal.entries.get(entry.place)
        self.journal.write(entry)
        self._origins[entry.origin] = entry.place
        if entry.file:
            self._files[entry.file.casefold()] = entry.place
        if before is None or not before.file or before.file == entry.file:
            return
        if self._files.get(before.file.casefold()) == entry.place:
            del self._files[before.file.casefold()]
            with suppress(OSError):
                self.journal.remove(before.file)


def _claim(folder: Path) -> bool:
    """Begin a folder of results; whether it is one already. SourceError if it has files of something else.

    The journal comes first, so that a folder whose first run is killed is known again.
    """
    journal = folder / JOURNAL
    if journal.exists():
        refuse_foreign(journal)
        return True
    others = [name for name in (INDEX, RUNS, EVENTS, PICTURES) if os.path.lexists(folder / name)]
    if others:
        raise SourceError(
            f"{folder} already has {' and '.join(others)}, but no {JOURNAL} of `stride-ros mine`; choose a"
            " new folder with --out."
        )
    make_folder(folder)
    try:
        journal.touch()
    except OSError as error:
        raise unwritable(journal, error) from error
    return False


def _is_about_model(note: str) -> bool:
    """Whether a note is the same for all recordings."""
    return note == BEYOND_EMBEDDED or note.startswith(RATE_NOTE)


def _file_name(name: str) -> str:
    """A recording's name in a form that every file system accepts in file names."""
    safe = re.sub(r"[^\w.-]", "_", name)[:80]
    return safe.encode()[:_LONGEST_NAME].decode("utf-8", "ignore") or "recording"
