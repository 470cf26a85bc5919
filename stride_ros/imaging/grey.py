"""Show grey pictures of more than 8 bits, such as thermal ones, whose values use little of their range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Fraction of pixels that may be outside the range on either side: dead pixels, the sun.
_BEYOND = 0.001
_SAMPLES = 1 << 18  # pixels that are sampled; more would not change the result
_LEVELS, _VALUES = 255, 1 << 16
_BLOCK = 1 << 20  # pixels converted at a time


def stretch(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Map the range of 16-bit values (H, W) to 0 to 255.

    The range is that of the picture itself, as in rviz, without the most extreme 0.1 % of its pixels on
    either side. A value is at most one grey level, so that the noise of an empty scene is not amplified. (The
    high byte alone, as used by cv_bridge, leaves a thermal picture black: a scene between 10 and 40 degrees
    is a twentieth of the range.)
    """
    values = grey[:: max(1, grey.size // _SAMPLES)]
    values = values[:, :: max(1, values.size // _SAMPLES)]  # for a picture with few long rows
    below = np.bincount(values.ravel(), minlength=_VALUES).cumsum()
    beyond = int(values.size * _BEYOND)
    low, high = (int(at) for at in np.searchsorted(below, (beyond, values.size - 1 - beyond), "right"))
    span = max(high - low, _LEVELS)
    table = ((np.arange(_VALUES) - low) * _LEVELS + span // 2) // span
    table = table.clip(0, _LEVELS).astype(np.uint8)
    levels = np.empty(grey.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, grey.shape[1]))
    for top in range(0, len(grey), rows):  # an index takes 8 bytes per pixel temporarily
        levels[top : top + rows] = table[grey[top : top + rows]]
    return levels
