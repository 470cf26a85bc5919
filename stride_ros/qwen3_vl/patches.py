"""From a camera frame to the model's patches: size rule, resize, normalisation, patch order.

The official Qwen3-VL video processor needs torchvision; these few lines replace it and are checked against
its output.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError

PATCH = 16  # pixels per side
MERGE = 2  # patches per side that become one token
CELL = PATCH * MERGE  # pixels per side of one token
PAIR = 2  # frames in one temporal patch


@lru_cache(maxsize=64)
def choose_size(height: int, width: int, max_tokens: int) -> tuple[int, int] | None:
    """The model's frame size (height, width) for a source size, in pixels; None if no token grid fits.

    It has the most tokens, up to `max_tokens`, that keep the aspect ratio and do not enlarge either side. The
    search order is that of training, since it decides between equals.
    """
    ratio = width / height
    rows, columns = height // CELL, width // CELL
    best: tuple[int, int] | None = None
    most = 0
    for h in range(1, rows + 1):
        for w in (int(h * ratio), int(h * ratio) + 1):
            if 0 < w <= columns and most < h * w <= max_tokens:
                best, most = (h * CELL, w * CELL), h * w
    return best


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale `image` (H, W, 3) to `size` (height, width); area average if both sides shrink, else bilinear."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    import cv2

    shrinks = size[0] <= height and size[1] <= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(image, (size[1], size[0]), interpolation=interpolation)
    return resized


def model_size(height: int, width: int, max_tokens: int) -> tuple[int, int]:
    """The model's frame size (height, width) for a source size, in pixels. FrameError if there is none."""
    if min(height, width) < CELL:
        raise FrameError(
            f"A frame is {width}x{height} pixels; use images with both sides at least {CELL} pixels."
        )
    chosen = choose_size(height, width, max_tokens)
    if chosen is None:
        raise FrameError(
            f"A {width}x{height} frame has no token grid of at most {max_tokens} tokens; "
            "crop it to a less extreme shape or raise frame_max_tokens."
        )
    return chosen


def prepare(frame: Any, max_tokens: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Check a camera frame and scale it to the model's size (or to `size`), as a copy.

    frame: (H, W, 3) uint8 RGB, both sides at least 32 px. Raises FrameError otherwise.
    """
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"A frame is a {type(frame).__name__}; pass a NumPy array of shape (H, W, 3).")
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise FrameError(f"A frame has shape {frame.shape}; pass RGB images of shape (H, W, 3).")
    if frame.dtype != np.uint8:
        raise FrameError(f"A frame has dtype {frame.dtype}; convert it to uint8 with values 0 to 255.")
    height, width = int(frame.shape[0]), int(frame.shape[1])
    chosen = model_size(height, width, max_tokens)
    resized = resize(np.ascontiguousarray(frame), size or chosen)
    return resized.copy() if resized is frame else resized


def patches(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert a pair of equal frames (H, W, 3) to patches (H/16 * W/16, 3 * 2 * 16 * 16), values -1 to 1.

    Patches that become one token are adjacent: order (row cell, column cell, 2, 2), each (channel, frame, 16,
    16).
    """
    height, width = first.shape[:2]
    pair = np.stack((first, second)).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    split = pair.reshape(PAIR, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH, 3)
    ordered = split.transpose(1, 4, 2, 5, 7, 0, 3, 6)
    return np.ascontiguousarray(ordered).reshape(-1, 3 * PAIR * PATCH * PATCH)
