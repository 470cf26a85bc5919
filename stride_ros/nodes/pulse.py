"""Measure the node's own delays: pauses of its executor, and the time that a piece of work takes."""

from __future__ import annotations

import time
from types import TracebackType

_USUAL = 1.0  # s; on a busy machine a callback may be that late


class Pulse:
    """Notices when the executor did not run, so that the node itself caused a silence.

    Callbacks that the executor runs regularly call `beat`; code that judges a silence calls `time_since`.
    """

    def __init__(self, period: float) -> None:
        """`period`: s between beats without delays."""
        self._period = period
        self._beat = self._listening = time.monotonic()
        self._paused_at = float("-inf")
        self._pause = 0.0

    def beat(self) -> float:
        """Return how long (s) nothing ran before this, or 0 if that was not longer than usual."""
        now = time.monotonic()
        pause, self._beat = now - self._beat - self._period, now
        if pause < _USUAL:
            return 0.0
        # Waiting messages are handled next, so a silence counts from now on.
        self._listening = self._paused_at = now
        self._pause = pause
        return pause

    def time_since(self, moment: float) -> float:
        """Seconds since a moment (time.monotonic()), counted only while the executor was running."""
        return time.monotonic() - max(moment, self._listening)

    def recent_pause(self, seconds: float) -> float:
        """The last pause (s), or 0 if it was more than `seconds` ago."""
        return self._pause if time.monotonic() - self._paused_at < seconds else 0.0


class Stopwatch:
    """Times the work of one thread for another thread: `with stopwatch: ...`."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._last = 0.0

    def __enter__(self) -> Stopwatch:
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started, self._started = self._started, None
        if started is not None:
            self._last = time.monotonic() - started

    @property
    def running(self) -> float:
        """How long (s) the current work has taken so far; 0 while there is none."""
        started = self._started
        return 0.0 if started is None else time.monotonic() - started

    @property
    def seconds(self) -> float:
        """How long (s) the last work took, or the current one has taken if that is longer."""
        return max(self._last, self.running)
