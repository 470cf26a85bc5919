"""Orientation of pictures: EXIF orientations, display matrices of videos, rotation tags."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
# EXIF numbers for a picture that must be rotated clockwise by these degrees.
_CLOCKWISE = {0: UPRIGHT, 90: 6, 180: 3, 270: 8}


def turn_upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 image rotated and mirrored according to its EXIF orientation (1 to 8).

    Unknown numbers change nothing, as in image viewers.
    """
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def of_display_matrix(data: bytes) -> int:
    """The EXIF orientation nearest to a display matrix of FFmpeg (nine int32).

    A pixel (x, y) is shown at (a x + c y, b x + d y), where a, b, _, c, d, ... are the numbers.
    """
    if len(data) < 36:
        return UPRIGHT
    a, b, _, c, d = struct.unpack_from("=5i", data)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[a < 0, d < 0]
    return {(False, False): 5, (False, True): 6, (True, True): 7, (True, False): 8}[b < 0, c < 0]


def of_rotation(degrees: float) -> int:
    """The EXIF orientation for a clockwise rotation by `degrees`, rounded to quarter turns."""
    return _CLOCKWISE[round(degrees / 90) % 4 * 90]
