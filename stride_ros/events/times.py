"""Times as people write and read them: in the time zone of this machine, which is printed with them."""

from __future__ import annotations

import re
import time
from datetime import date, datetime, timedelta, timezone

from stride_ros.errors import ConfigError
from stride_ros.text.wording import time_label

SECOND = 10**9  # ns
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}")
_ZONE = re.compile(r" *(?:UTC|Z|([+-]\d\d:\d\d))$")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY = timedelta(days=1)


def given_time(text: str, *, end_of_day: bool = False) -> int:
    """The ns since 1970 of a date, a time (2026-11-01T14:30), or 15m, 2h, 7d ago.

    Without an offset, UTC or Z it is of this machine's time zone; what `local_time` prints is taken as well.
    A date alone is its first moment, or its last one at the `end_of_day`. ConfigError.
    """
    given = text = text.strip()
    if ago := _AGO.fullmatch(text):
        return time.time_ns() - round(float(ago[1]) * _UNITS[ago[2]] * SECOND)
    try:
        zone = _ZONE.search(text)
        day = text[: zone.start()] if zone else text
        if _DATE.fullmatch(day):  # Python reads fewer forms, and none with a zone
            digits = day.replace("-", "")
            text = f"{digits[:4]}-{digits[4:6]}-{digits[6:]}T00:00:00{zone[0] if zone else ''}"
        else:
            end_of_day = False
        moment = datetime.fromisoformat(_ZONE.sub(lambda zone: zone[1] or "+00:00", text))
        if not end_of_day:
            return _nanoseconds(moment)
        if moment.date() == date.max:
            return _nanoseconds(moment) + _UNITS["d"] * SECOND - 1
        return _nanoseconds(moment + _DAY) - 1
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{given!r} is not a time; write a date (2026-11-01), a time (2026-11-01T14:30), or how long ago "
            "it is (90s, 15m, 2h, 7d)."
        ) from error


def _nanoseconds(moment: datetime) -> int:
    offset = moment.utcoffset()
    if offset is None:  # astimezone looks a day to either side, where the calendar may end
        inside = min(max(moment, datetime.min + 2 * _DAY), datetime.max - 2 * _DAY)
        offset = inside.astimezone().utcoffset() or timedelta()
    since = moment.replace(tzinfo=timezone.utc) - _EPOCH - offset
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def local_time(stamp: int) -> str:
    """A stamp (ns) as the date and time here with the zone, in whole seconds; what is not a date as seconds.

    The zone is an offset, such as +01:00, or UTC: abbreviations such as CST stand for several.
    """
    moment = _moment(stamp)
    if moment is None:
        return f"{stamp / SECOND:.1f} s"
    here = moment.astimezone()
    offset = f"{here:%z}"
    return f"{here:%Y-%m-%d %H:%M:%S} {f'{offset[:3]}:{offset[3:5]}' if here.utcoffset() else 'UTC'}"


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
