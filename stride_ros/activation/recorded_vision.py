"""Encode frame pairs with recordings, which launch the vision tower's hundreds of kernels at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.recorder import TOLERANCE, Recorder, give_up, reason
from stride_ros.qwen3_vl.patches import CELL
from stride_ros.qwen3_vl.vision import PairFeatures, VisionTower, patches_of

_MOST_PAIRS = 8  # maximum number of pairs in one recording
_MOST_RECORDINGS = 8  # for sizes and numbers of pairs; any others are encoded the ordinary way

FramePairs = Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


class _FixedVision:
    """Encodes up to `count` pairs of frames of one size, which are uploaded first."""

    def __init__(self, tower: VisionTower, count: int, height: int, width: int, dtype: torch.dtype) -> None:
        self._tower, self._dtype = tower, dtype
        self._rows, self._columns = height // CELL, width // CELL
        # What the tower has computed for this size must stay as long as a recording reads it.
        self._grid = tower.grid(self._rows, self._columns)
        device = self._grid[0].device
        size = (count, 2, height, width, 3)
        self._filled = torch.zeros(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._pixels = torch.zeros_like(self._filled, device=device)
        self._copied = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._found: list[torch.Tensor] = []

    def fill(self, pairs: FramePairs) -> None:
        """Set the pairs to encode next."""
        if self._copied is not None:
            self._copied.synchronize()  # the previous pairs' pixels, which were uploaded long ago
        np.stack(pairs, out=self._filled.numpy()[: len(pairs)])
        self._pixels.copy_(self._filled, non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def run(self) -> None:
        """Encode what was filled in."""
        patches = patches_of(self._pixels).to(self._dtype)
        self._found = self._tower.features(patches, self._rows, self._columns)

    def features(self, count: int) -> list[PairFeatures]:
        """Features of the first pairs of the last run, as copies."""
        mine = [found[: count * self._rows * self._columns].clone() for found in self._found]
        return self._tower.of_pairs(mine, self._rows, self._columns)


class RecordedVision:
    """The recordings of one vision tower, for frame sizes and 1, 2, 4 or 8 pairs.

    ordinary: encodes without recordings; each recording is checked against it before it is used.
    """

    def __init__(
        self,
        recorder: Recorder,
        tower: VisionTower,
        dtype: torch.dtype,
        ordinary: Callable[[FramePairs], list[PairFeatures]],
    ) -> None:
        self._recorder, self._tower, self._dtype, self._ordinary = recorder, tower, dtype, ordinary
        self._recordings: dict[tuple[int, int, int], tuple[_FixedVision, Callable[[], None]]] = {}
        self._lock = threading.Lock()  # engines in other threads may share the model

    @torch.inference_mode()
    def encode(self, pairs: FramePairs) -> list[PairFeatures]:
        """Features of frame pairs of one size; see `ActivationModel.encode`."""
        with self._lock:
            height, width = pairs[0][0].shape[:2]
            key = (1 << (len(pairs) - 1).bit_length(), height, width)
            if self._recorder.failure is not None:
                self._recordings.clear()
                return self._ordinary(pairs)
            if key not in self._recordings:
                if key[0] > _MOST_PAIRS or len(self._recordings) == _MOST_RECORDINGS:
                    return self._ordinary(pairs)
                return self._record(key, pairs)
            fixed, replay = self._recordings[key]
            fixed.fill(pairs)
            replay()
            return fixed.features(len(pairs))

    def _record(self, key: tuple[int, int, int], pairs: FramePairs) -> list[PairFeatures]:
        """Make and check a recording; on failure no recordings are used any more."""
        expected = self._ordinary(pairs)
        try:
            fixed = _FixedVision(self._tower, *key, self._dtype)
            replay = self._recorder.record(fixed.run)
            fixed.fill(pairs)
            replay()
            found = fixed.features(len(pairs))
        except Exception as error:  # whatever the cause: encoding works without recordings
            give_up(self._recorder, f"capturing the vision tower failed ({reason(error)})")
            return expected
        for ours, theirs in zip(found, expected, strict=True):
            for mine, other in zip(ours.all, theirs.all, strict=True):
                most = float((mine - other).abs().max() / (1 + other.abs().max()))
                if not most <= TOLERANCE[self._dtype]:  # also true for NaN
                    give_up(self._recorder, f"a replay of the vision tower was off by {most:.3g}")
                    return expected
        self._recordings[key] = fixed, replay
        return expected
