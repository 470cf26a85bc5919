"""Limits for the size of pictures, checked before memory is allocated for them."""

from __future__ import annotations

from stride_ros.errors import FrameError
from stride_ros.text.wording import counted

# Larger sizes are refused (an 8K frame has 33 million pixels).
MAX_PIXELS = 64_000_000
# A compressed camera image has fewer pixels per byte than this; a file that claims far more is damaged, or
# made to fill the memory.
_PIXELS_A_BYTE, _FREE_PIXELS = 2000, 4_000_000


def check_size(width: int, height: int) -> None:
    """Raise FrameError for a picture without pixels or with more than MAX_PIXELS."""
    if width == 0 or height == 0:
        raise FrameError(f"The image is {width}x{height}, so it has no pixels; check the camera driver.")
    if width * height > MAX_PIXELS:
        raise FrameError(
            f"The image claims {width}x{height} pixels, more than {MAX_PIXELS}; lower the camera's size."
        )


def check_claim(width: int, height: int, size: int) -> None:
    """Raise FrameError also for a compressed picture of `size` bytes that claims too many pixels."""
    check_size(width, height)
    if width * height > _FREE_PIXELS + _PIXELS_A_BYTE * size:
        raise FrameError(
            f"A compressed image of {counted(size, 'byte')} claims {width}x{height} pixels; check its "
            "publisher."
        )
