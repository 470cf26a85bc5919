"""Write a log from a separate thread, so that callers never wait for the disk."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from stride_ros.events.database import EventLogError
from stride_ros.events.log import EventLog
from stride_ros.events.record import OPEN, Event, Pose

_PERIOD = 0.3  # s for which writes are collected into one commit
_PAUSE = 1.0  # s between attempts while the log cannot be written
_MAX_WAITING, _MAX_PICTURES, _MAX_EARLY = 20_000, 500, 1000
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Said:
    """The final commentary on an event, see `EventLog.say`."""

    sentence: str
    status: str = "ok"
    error: str = ""
    speaker: str = ""
    shown_ns: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figures:
    """The state of writing; `problem`: why it fails, otherwise empty."""

    written: int
    waiting: int
    lost: int
    problem: str


@dataclass
class _Batch:
    """The newest data to write, by the event's key."""

    events: OrderedDict[str, Event] = field(default_factory=OrderedDict)
    said: OrderedDict[str, Said] = field(default_factory=OrderedDict)
    poses: OrderedDict[str, Pose] = field(default_factory=OrderedDict)
    pictures: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    def __bool__(self) -> bool:
        return bool(self.events or self.said or self.poses or self.pictures)

    def put(self, event: Event) -> None:
        """Add an event; one that is over does not reopen."""
        known = self.events.get(event.key)
        if known is None or known.state == OPEN or event.state != OPEN:
            self.events[event.key] = event

    def followed_by(self, newer: _Batch) -> _Batch:
        """Both batches combined; the newer one takes precedence."""
        both = _Batch(
            self.events.copy(),
            OrderedDict({**self.said, **newer.said}),
            OrderedDict({**self.poses, **newer.poses}),
            OrderedDict({**self.pictures, **newer.pictures}),
        )
        for event in newer.events.values():
            both.put(event)
        return both

    def without(self, key: str) -> None:
        """Leave out events that cannot be written."""
        for part in (self.events, self.said, self.poses, self.pictures):
            part.pop(key, None)


class EventWriter:
    """Passes events, commentary, poses and pictures on to a log, which commits them within half a second.

    What the log cannot write, such as on a full disk, is kept and tried again, up to 20,000 events.
    """

    def __init__(self, log: EventLog, report: Callable[[str], None] = lambda problem: None) -> None:
        """`report(sentence)` is called in the thread when something cannot be written, once per reason."""
        self._log, self._report = log, report
        self._changed = threading.Condition()
        self._batch = _Batch()
        self._stopping = False
        self._early: OrderedDict[str, Said] = OrderedDict()  # received before their event
        self._written = self._lost = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="stride-event-log", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def put(self, event: Event) -> None:
        """Write an event, or replace the one with its key."""
        with self._changed:
            self._batch.put(event)
            self._changed.notify()

    def say(self, key: str, said: Said) -> None:
        """Write the final commentary on an event, which may be put later."""
        with self._changed:
            self._batch.said[key] = said
            self._changed.notify()

    def place(self, key: str, pose: Pose) -> None:
        """Write where the robot was at an event that was put."""
        with self._changed:
            self._batch.poses[key] = pose
            self._changed.notify()

    def picture(self, key: str, jpeg: bytes) -> None:
        """Write the picture of an event that was put."""
        with self._changed:
            self._batch.pictures[key] = jpeg
            self._changed.notify()

    @property
    def figures(self) -> Figures:
        """The state of writing."""
        with self._changed:
            return Figures(self._written, len(self._batch.events), self._lost, self._problem)

    def stop(self, timeout: float) -> bool:
        """Write what is waiting, or try once, and end; False if the log has not returned in this time (s)."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._batch or self._stopping, _PAUSE)
                if not self._batch:
                    if self._stopping:
                        return
                    if self._log.in_place:
                        continue
                self._changed.wait_for(lambda: self._stopping, _PERIOD)
                batch, self._batch = self._batch, _Batch()
                stopping = self._stopping
            problem = self._write(batch)
            with self._changed:
                if problem:
                    self._keep(batch)
                else:
                    self._written += len(batch.events)
                told, self._problem = self._problem, problem
            if problem and problem != told:
                self._report(problem)
            if problem:
                if stopping:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, _PAUSE)

    def _write(self, batch: _Batch) -> str:
        """Write and commit a batch; return why that is not possible now, otherwise an empty text."""
        while True:
            key = ""
            try:
                self._follow()
            except EventLogError as error:
                return str(error)
            try:
                for key, event in batch.events.items():
                    self._log.put(event)
                    if (early := self._early.get(key)) is not None:
                        batch.said.setdefault(key, early)
                for key, said in batch.said.items():
                    if self._log.say(key, **vars(said)):
                        self._early.pop(key, None)
                    else:
                        _add(self._early, key, said, _MAX_EARLY)
                for key, pose in batch.poses.items():
                    self._log.place(key, pose)
                for key, picture in batch.pictures.items():
                    self._log.picture(key, picture)
                key = ""
                self._log.commit()
                return ""
            except EventLogError as error:
                if not self._log.in_place:
                    continue
                if not key or isinstance(error.__cause__, (sqlite3.OperationalError, OSError)):
                    return str(error)
                self._drop(batch, key, error)
            except Exception as error:
                # Write the others: if the thread ended here, nothing more would be written.
                if not key:
                    return f"The log cannot be written ({type(error).__name__}: {error})."
                self._drop(batch, key, error)

    def _follow(self) -> None:
        """Continue in a new log if the file was taken away, since nobody would find what is written to it."""
        if not self._log.in_place:
            self._log.reopen()
            self._report(
                f"{self._log.path}, or a file that belongs to it, was deleted, moved or replaced while it "
                "was being written; events are now written to the file of that name."
            )

    def _drop(self, batch: _Batch, key: str, error: Exception) -> None:
        batch.without(key)
        with self._changed:
            self._lost += 1
        self._report(f"An event cannot be written and is left out ({type(error).__name__}: {error}).")

    def _keep(self, batch: _Batch) -> None:
        """Keep a batch together with what has arrived meanwhile, dropping the oldest if that is too much."""
        self._batch = batch.followed_by(self._batch)
        while len(self._batch.events) > _MAX_WAITING:
            self._batch.without(next(iter(self._batch.events)))
            self._lost += 1
        while len(self._batch.pictures) > _MAX_PICTURES:
            self._batch.pictures.popitem(last=False)


def _add(kept: OrderedDict[str, _Value], key: str, value: _Value, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)
