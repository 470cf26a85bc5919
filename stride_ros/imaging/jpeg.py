"""Read the markers of a JPEG file without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from dataclasses import dataclass

SIGNATURE = b"\xff\xd8\xff"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_SOS, _EOI = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the others are tables
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset(range(0xC9, 0xD0))
# Between segments a decoder skips to the next marker. RSTn and TEM have no content, wherever they are.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
_MAX_SEGMENTS = 5000  # the longest colour profile has 255
# Bits that no decoder takes for the end of a picture. No byte is 0xff, which would begin a marker.
_CANARY = bytes((37 * i + 11) % 251 for i in range(96))


@dataclass(frozen=True)
class JpegInfo:
    """The markers of a JPEG file.

    `components`: 1 grey, 3 colour, 4 CMYK; `scans`: the maximum that a decoder finds before `end`.

    `end`: number of bytes up to the end marker, None without one; `buffered`: a decoder keeps all
    coefficients, since those of a pixel come in several scans; `arithmetic`: they are arithmetically coded,
    which is slow to read.
    """

    width: int
    height: int
    components: int
    scans: int
    end: int | None
    buffered: bool
    arithmetic: bool


def inspect(data: bytes) -> JpegInfo:
    """Read the markers. Raises ValueError if there is no frame header or no scan."""
    size: tuple[int, int, int] | None = None
    frame = 0
    position, has_scan = 2, False
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None or found[1][0] == _EOI:
            break
        marker, position = found[1][0], found.end()
        if marker in _FRAMES and size is None:
            if len(data) < position + 8:
                raise ValueError("it ends in its header")
            height, width = (int.from_bytes(data[position + i : position + i + 2], "big") for i in (3, 5))
            size, frame = (width, height, data[position + 7]), marker
        has_scan = has_scan or marker == _SOS
        position += max(int.from_bytes(data[position : position + 2], "big"), 2)
    else:
        raise ValueError(f"it has more than {_MAX_SEGMENTS} segments")
    if size is None or not has_scan:
        raise ValueError("it has no picture")
    end = found.end() if found is not None else None
    # Every scan begins with these two bytes; a preview inside a segment may contain a few more.
    scans = data.count(_SCAN, 0, end)
    buffered = frame in _PROGRESSIVE or scans > 1
    return JpegInfo(*size, scans=scans, end=end, buffered=buffered, arithmetic=frame in _ARITHMETIC)


def with_end(data: bytes) -> bytes:
    """Return a file that lacks its end marker, or ends within it, with an end marker."""
    return _stump(data) + _END


def with_canary(data: bytes) -> bytes:
    """Return the same with bits before the end marker that only an unfinished picture would consume.

    So both decode to the same picture if and only if only the end marker is missing.
    """
    return _stump(data) + _CANARY + _END


def _stump(data: bytes) -> bytes:
    """The file without the zeros with which a driver padded its buffer, and without half a marker."""
    stump = data.rstrip(b"\0")
    if not stump.endswith(b"\xff"):
        return stump
    return stump + b"\0" if len(stump) < len(data) else stump.rstrip(b"\xff")
