"""Two clocks for one's own delays: was the executor held up, how long does a piece of work take?"""

from __future__ import annotations

import time
from types import TracebackType

_USUAL = 1.0  # s; a busy machine may run a callback that late


class Pulse:
    """Notices when the executor did not run: what is silent then is the node itself.

    `beat` is called by whatever the executor runs regularly, `time_since` by whatever judges a silence.
    """

    def __init__(self, period: float) -> None:
        """`period`: s between beats when nothing holds them up."""
        self._period = period
        self._beat = self._listening = time.monotonic()
        self._paused_at = float("-inf")
        self._pause = 0.0

    def beat(self) -> float:
        """Return for how long (s) nothing ran before this, 0 if that was not longer than usual."""
        now = time.monotonic()
        pause, self._beat = now - self._beat - self._period, now
        if pause < _USUAL:
            return 0.0
        # What waited meanwhile is handled next: a silence counts from now on.
        self._listening = self._paused_at = now
        self._pause = pause
        return pause

    def time_since(self, moment: float) -> float:
        """Seconds since a moment (time.monotonic()), counted only while the executor was running."""
        return time.monotonic() - max(moment, self._listening)

    def recent_pause(self, seconds: float) -> float:
        """The last pause (s), 0 if it is longer ago than `seconds`."""
        return self._pause if time.monotonic() - self._paused_at < seconds else 0.0


class Stopwatch:
    """Times work that one thread does, for another that looks on: `with stopwatch: ...`."""

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
        """How long (s) the present work has taken so far; 0 while there is none."""
        started = self._started
        return 0.0 if started is None else time.monotonic() - started

    @property
    def seconds(self) -> float:
        """How long the last work took, or the present one has taken if that is more."""
        return max(self._last, self.running)
