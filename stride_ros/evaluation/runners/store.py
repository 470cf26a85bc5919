"""The record of a run: JSON lines, with the settings first, then one line per finished item.

Lines are written at once and only appended, so a killed run loses at most the items in progress, and an
incomplete last line affects only itself. The last line of an item counts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.text.foreign import mended, visible
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.output import make_folder, unwritable

NAME = "run.jsonl"
_SETTINGS, _ITEM = "settings", "item"


@dataclass
class Entry:
    """The record of one item.

    item: its key. result: its result, or None. error: one sentence, or "". seconds: the time it took. asked:
    the questions to the responder, in order: clip, start, end (s), prompt, frames, reply.
    """

    item: str
    result: Any = None
    error: str = ""
    seconds: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)


class Store:
    """The run in a folder, which is created; one process at a time writes it.

    done: keys of items with a result and no error. notes: what was odd about the file. Raises SourceError,
    and ConfigError for a run with other settings, unless `anew` discards it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, anew: bool = False) -> None:
        make_folder(folder)
        self.path = folder / NAME
        self.done: set[str] = set()
        self.notes: list[str] = []
        try:
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            self._lock(folder)
            if anew:
                self._file.truncate(0)
            self._read(dict(settings))
        except BaseException:
            self._file.close()
            raise

    def add(self, entry: Entry) -> None:
        """Record an item. Raises SourceError if the disk is full."""
        value = {key: part for key, part in entry.__dict__.items() if part not in ("", [])}
        self._write(value)
        self.done.discard(entry.item)
        if not entry.error:
            self.done.add(entry.item)

    def entries(self) -> Iterator[Entry]:
        """The newest entry of each item, read from the file in the order of writing."""
        newest: dict[str, int] = {}
        for place, value in self._lines():
            if _ITEM in value:
                newest[value[_ITEM]] = place
        for place, value in self._lines():
            if newest.get(value.get(_ITEM, "")) == place:
                known = {key: part for key, part in value.items() if key in Entry.__dataclass_fields__}
                yield Entry(**known)

    def close(self) -> None:
        """Release the file for other processes."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SourceError(
                f"Another process is using the run in {folder}; wait for it, or set another --out."
            ) from error
        except OSError:
            self.notes.append(
                f"{self.path} cannot be locked on this file system; do not run a second process on it."
            )

    def _read(self, settings: dict[str, Any]) -> None:
        self._drop_torn_line()
        # In the form that it has after being written and read.
        settings = json.loads(json.dumps(settings))
        before: Any = None
        for place, value in self._lines(tell=True):
            if not place and isinstance(value.get(_SETTINGS), dict):
                before = value[_SETTINGS]
            elif isinstance(value.get(_ITEM), str):
                self.done.discard(value[_ITEM])
                if not value.get("error"):
                    self.done.add(value[_ITEM])
        if before is None:
            if self.path.stat().st_size:
                raise ConfigError(
                    f"{self.path} does not begin with the settings of a run; set another --out, or start "
                    "over with --no-resume."
                )
            self._write({_SETTINGS: settings})
        elif before != settings:
            names = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
            shown = "; ".join(f"{name} {_change(before.get(name), settings.get(name))}" for name in names[:3])
            raise ConfigError(
                f"The run in {self.path.parent} has other settings ({shown}); set another --out, or start "
                "over with --no-resume."
            )

    def _drop_torn_line(self) -> None:
        """Remove an incomplete last line, so that the next line does not continue it."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            end, kept = size, 0
            while end > 0:
                begin = max(0, end - 2**16)
                file.seek(begin)
                found = file.read(end - begin).rfind(b"\n")
                if found >= 0:
                    kept = begin + found + 1
                    break
                end = begin
        if kept < size:
            self._file.truncate(kept)
            self.notes.append(f"The last line of {self.path} was incomplete; that item is repeated.")

    def _lines(self, tell: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
        odd = 0
        with self.path.open("rb") as file:
            for place, line in enumerate(file):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    value = None
                if isinstance(value, dict):
                    yield place, value
                else:
                    odd += 1
        if odd and tell:
            self.notes.append(
                f"{self.path} has {counted(odd, 'line')} that {plural(odd, 'is', 'are')} not JSON; those "
                "items are repeated."
            )

    def _write(self, value: dict[str, Any]) -> None:
        # In one call, so that readers and a resumed run see complete lines, except perhaps the last one.
        data = mended(json.dumps(value, ensure_ascii=False)).encode() + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error


def _change(before: Any, now: Any) -> str:
    return f"{_shown(before)} before, now {_shown(now)}"


def _shown(value: Any) -> str:
    return visible("none" if value is None else json.dumps(value, ensure_ascii=False), 60)
