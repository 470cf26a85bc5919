"""Grey pictures of more than 8 bits, such as thermal ones, whose values fill a small part of their range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Part of the pixels that may lie beyond the range on either side: dead pixels, the sun.
_BEYOND = 0.001
_SAMPLES = 1 << 18  # pixels that are looked at; more tell nothing new
_LEVELS = 255


def stretch(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Map the range of 16-bit values (H, W) to 0 to 255.

    The range is that of the picture itself, as rviz shows it, without the most extreme 0.1 % of its pixels on
    either side. A value is at most one level of grey, so that the noise of an empty scene stays noise. (The
    high byte alone, which is what cv_bridge takes, leaves a thermal picture black: a scene between 10 and
    40 degrees is a twentieth of the range.)
    """
    values = grey[:: max(1, grey.shape[0] * grey.shape[1] // _SAMPLES)] if grey.size > _SAMPLES else grey
    values = np.sort(values, axis=None)
    beyond = int(len(values) * _BEYOND)
    low, high = int(values[beyond]), int(values[-1 - beyond])
    span = max(high - low, _LEVELS)
    table = ((np.arange(span + 1) * _LEVELS + span // 2) // span).astype(np.uint8)
    levels: NDArray[np.uint8] = table[np.clip(grey, low, low + span).astype(np.int32) - low]
    return levels
