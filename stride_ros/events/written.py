"""When events were written, on a computer whose clock may be wrong and may be set meanwhile."""

from __future__ import annotations

import sqlite3
import time

_CLOCK_SET = 1_600_000_000  # s since 1970; a clock that shows an earlier time was not set
_STEP = 60.0  # s; a smaller change of the clock is corrected gradually, or does not matter
_DAY = 86_400  # s
UNKNOWN = 0


class WrittenTimes:
    """The times in the column `written`, for one writer; events with an unknown one have no age.

    A robot without a battery for its clock starts with the time of its last shutdown, or of its software,
    until it reaches a network. Its events would be years old as soon as the clock is set.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._first: int = connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM contents").fetchone()[0]
        self._offset = _offset()

    def now(self) -> int:
        """The time to store (s since 1970)."""
        now = int(time.time())
        return now if now > _CLOCK_SET else UNKNOWN

    def forget_wrong(self) -> None:
        """Events of earlier writers that seem older than those written before them have an unknown time."""
        self._connection.execute(
            "UPDATE contents SET written = ? WHERE id IN (SELECT id FROM (SELECT id, written,"
            " max(CASE WHEN written <= ? THEN written ELSE 0 END) OVER (ORDER BY seq) AS before"
            " FROM contents) WHERE written > 0 AND written < before - ?)",
            (UNKNOWN, int(time.time()), _DAY),
        )

    def follow(self) -> None:
        """If the clock was set, correct the times of this writer's events; call this in a transaction."""
        step = _offset() - self._offset
        if abs(step) > _STEP:
            self._offset += step
            self._connection.execute(
                "UPDATE contents SET written = written + ? WHERE seq >= ? AND written > 0",
                (round(step), self._first),
            )


def _offset() -> float:
    """Time that the computer's clock shows when it starts (s since 1970), unless it is set later."""
    # While a computer is suspended, only this one of the steady clocks goes on.
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() - (time.monotonic() if boot is None else time.clock_gettime(boot))
