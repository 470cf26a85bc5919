"""Resize pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 image scaled to `size` (width, height) px; unchanged if it has that size.

    Pixels are averaged when the picture shrinks, so that thin objects do not flicker.
    """
    width, height = size
    if (height, width) == image.shape[:2]:
        return image
    import cv2

    shrinks = width <= image.shape[1] and height <= image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(image, (width, height), interpolation=way)
    return resized


def shrink(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """An (H, W, 3) uint8 image whose longer side is at most `longest` px; unchanged if small enough."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    return resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
