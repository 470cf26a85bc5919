"""Parse and format times for people."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from stride_ros.errors import ConfigError
from stride_ros.text.wording import time_label

SECOND = 10**9  # ns
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def given_time(text: str, *, end_of_day: bool = False) -> int:
    """Convert a date, a time (2026-11-01T14:30, with offset or local) or an age (2h, 7d) to ns since 1970.

    A date alone is its first moment, or its last one with `end_of_day`. Raises ConfigError.
    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return time.time_ns() - round(float(ago[1]) * _UNITS[ago[2]] * SECOND)
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z") + ("+00:00" if text.endswith("Z") else ""))
        if end_of_day and _DATE.fullmatch(text):
            moment += timedelta(days=1)
            return _nanoseconds(moment) - 1
        return _nanoseconds(moment)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r} is not a time; write a date (2026-11-01), a time (2026-11-01T14:30), or how long ago "
            "it is (90s, 15m, 2h, 7d)."
        ) from error


def _nanoseconds(moment: datetime) -> int:
    since = moment.astimezone(timezone.utc) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def local_time(stamp: int) -> str:
    """A stamp (ns) as local date and time, to a tenth of a second; one that is not a date as seconds."""
    moment = _moment(stamp)
    if moment is None:
        return f"{stamp / SECOND:.1f} s"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}.{moment.microsecond // 100_000}"


def iso_time(stamp: int | None) -> str | None:
    """A stamp (ns) as ISO 8601 in UTC; None if it is None or not a date."""
    moment = None if stamp is None else _moment(stamp)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


def _moment(stamp: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=stamp // 1000)
    except OverflowError:
        return None


def in_recording(stamp: int, first: int | None) -> str:
    """A stamp as minutes and seconds from the first image of its recording; empty if that is unknown."""
    return "" if first is None else time_label((stamp - first) / SECOND)
