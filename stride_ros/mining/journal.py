"""What has been mined: one line of JSON per recording, so that a later run does only what is missing.

A line is written once its results are on the disk. A line that a crash cut off is ignored.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from stride_ros.errors import SourceError
from stride_ros.mining.content import Seen
from stride_ros.user_files.output import unwritable, write_whole

SCHEMA = "stride_ros/mining/1"


@dataclass(frozen=True)
class Entry:
    """A recording: its location, its name in the log, and the key of its content and settings.

    `file`: the JSON of its run, in the folder of the results; `seconds`: its length. `problem`: why there is
    no run.
    """

    place: str
    origin: str
    key: str
    file: str = ""
    seconds: float = 0.0
    problem: str = ""


class Journal:
    """The entries by place, and digests (`seen`) of files that need not be read again. Raises SourceError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.seen: dict[str, Seen] = {}
        try:
            if path.exists():
                self._read(path.read_text("utf-8", "replace").splitlines())
            write_whole(path, "".join(self._lines()))  # without lines that later ones replace
            self._file: IO[str] = path.open("a", encoding="utf-8")
        except OSError as error:
            raise unwritable(path, error) from error

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

    def _read(self, lines: list[str]) -> None:
        for number, text in enumerate(lines):
            try:
                line = json.loads(text)
                if number == 0 and line["schema"] != SCHEMA:
                    raise ValueError(line["schema"])
                if "entry" in line:
                    entry = Entry(**line["entry"])
                    self.entries[entry.place] = entry
                elif "file" in line:
                    size, changed, inode, digest = line["seen"]
                    self.seen[str(line["file"])] = (int(size), int(changed), int(inode), str(digest))
            except (ValueError, TypeError, KeyError) as error:
                if number == 0:
                    raise SourceError(
                        f"{self.path} was not written by this version of `stride-ros mine`; choose another"
                        " folder, or remove that file to mine everything again."
                    ) from error
                continue  # cut off


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
