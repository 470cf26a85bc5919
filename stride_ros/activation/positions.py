"""Positions of the tokens of a frame pair for the rotary embedding of Qwen3-VL."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def pair_positions(count: int, rows: int, columns: int, position: int) -> tuple[NDArray[np.int64], int]:
    """Positions (3, count) of the ids of one frame pair that starts at `position`, and the position after it.

    The ids are text, then rows * columns video tokens, then one that ends the vision part (Qwen3-VL's
    multimodal rotary scheme).
    """
    steps, after = _steps(count, rows, columns)
    return steps + position, after + position


@lru_cache(maxsize=64)
def _steps(count: int, rows: int, columns: int) -> tuple[NDArray[np.int64], int]:
    """The positions of a pair that starts at 0: pairs of one camera differ only in their start."""
    corner = count - rows * columns - 1
    after = corner + max(rows, columns)
    text = np.tile(np.arange(corner), (3, 1))
    down, across = np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)
    grid = corner + np.stack([np.zeros_like(down), down, across])
    return np.concatenate([text, grid, np.full((3, 1), after)], axis=1), after + 1
