"""What has been mined: one line of JSON per recording, so that a later run does only what is missing.

A line is written once its results are on the disk. A line that a crash cut off is ignored. The name of each
file is written before the file, so that what a killed run left can be told from the files of others.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from stride_ros.errors import SourceError
from stride_ros.mining.content import Seen
from stride_ros.user_files.output import unwritable, write_whole

SCHEMA = "stride_ros/mining/1"
_RUN_FILE = re.compile(r"runs/[^/]+\.json")  # other files are never removed, whatever a line says


@dataclass(frozen=True)
class Entry:
    """A recording: its location, its name in the log, and the key of its content and settings.

    `file`: the JSON of its run, in the folder of the results; `seconds`: its length; `notes`: what was odd
    about it. `problem`: why there is no run.
    """

    place: str
    origin: str
    key: str
    file: str = ""
    seconds: float = 0.0
    problem: str = ""
    notes: tuple[str, ...] = ()


class Journal:
    """The entries by place, and digests (`seen`) of files that need not be read again. Raises SourceError.

    Opening it removes the files of runs that a killed run has left.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.seen: dict[str, Seen] = {}
        begun: set[str] = set()
        try:
            if path.exists():
                begun = self._read(path.read_text("utf-8", "replace").splitlines())
            for file in begun - {entry.file for entry in self.entries.values()}:
                self.remove(file)
            write_whole(path, "".join(self._lines()))  # without lines that later ones replace
            self._file: IO[str] = path.open("a", encoding="utf-8")
        except OSError as error:
            raise unwritable(path, error) from error

    def begin(self, file: str) -> None:
        """Write that a file of the results is about to be written."""
        self._append(_line({"begun": file}))

    def remove(self, file: str) -> None:
        """Remove the file of a run, which no entry may name. Raises OSError."""
        if _RUN_FILE.fullmatch(file):
            (self.path.parent / file).unlink(missing_ok=True)

    def write(self, entry: Entry) -> None:
        """Write an entry to the disk, in place of the previous one of its place."""
        self.entries[entry.place] = entry
        self._append(_line({"entry": asdict(entry)}), keep=True)

    def saw(self, files: dict[str, Seen]) -> None:
        """Write digests of files."""
        self.seen.update(files)
        self._append("".join(_line({"file": place, "seen": seen}) for place, seen in files.items()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, text: str, *, keep: bool = False) -> None:
        try:
            self._file.write(text)
            self._file.flush()
            if keep:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _lines(self) -> list[str]:
        return [
            _line({"schema": SCHEMA}),
            *(_line({"file": place, "seen": seen}) for place, seen in self.seen.items()),
            *(_line({"entry": asdict(entry)}) for entry in self.entries.values()),
        ]

    def _read(self, lines: list[str]) -> set[str]:
        """Read the lines; return all files that were ever begun or replaced since the last run."""
        begun: set[str] = set()
        for number, text in enumerate(lines):
            try:
                line = json.loads(text)
                if number == 0:
                    _check(line)
                if "entry" in line:
                    entry = Entry(**line["entry"] | {"notes": tuple(line["entry"].get("notes", ()))})
                    self.entries[entry.place] = entry
                    begun.add(entry.file)
                elif "begun" in line:
                    begun.add(str(line["begun"]))
                elif "file" in line:
                    size, changed, inode, digest = line["seen"]
                    self.seen[str(line["file"])] = (int(size), int(changed), int(inode), str(digest))
            except (ValueError, TypeError, KeyError) as error:
                if number == 0:
                    raise _foreign(self.path) from error
                continue  # cut off
        return begun


def refuse_foreign(path: Path) -> None:
    """Raise SourceError if this is a file, but no journal of this version. An empty one is a new one."""
    try:
        with path.open("rb") as file:
            first = file.readline(1000)
        if first:
            _check(json.loads(first))
    except OSError as error:
        raise unwritable(path, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _foreign(path) from error


def _check(line: Any) -> None:
    if line["schema"] != SCHEMA:
        raise ValueError(line["schema"])


def _foreign(path: Path) -> SourceError:
    return SourceError(
        f"{path} was not written by this version of `stride-ros mine`; choose another folder with --out."
    )


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
