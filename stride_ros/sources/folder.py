"""A folder of images as a source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np

from stride_ros.errors import SourceError
from stride_ros.sources.frames import SourceFrame, scaled

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class FolderSource:
    """The images of a folder in natural order (2 before 10), one every 1 / rate seconds."""

    live = False
    events = ()
    notes = ()

    def __init__(self, folder: Path, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self._paths = sorted(
            (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=_natural
        )
        if not self._paths:
            raise SourceError(
                f"The folder {folder} has no images; put {', '.join(IMAGE_SUFFIXES)} files into it."
            )
        self.name = str(folder)
        self._rate, self._seconds, self._size = rate, seconds, size

    def frames(self) -> Iterator[SourceFrame]:
        import cv2

        for i, path in enumerate(self._paths):
            time = i / self._rate
            if self._seconds and time >= self._seconds:
                return
            bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
            if bgr is None:
                raise SourceError(f"The image {path} cannot be read; repair or remove it.")
            yield SourceFrame(scaled(np.ascontiguousarray(bgr[:, :, ::-1]), self._size), time)


def _natural(path: Path) -> list[tuple[Decimal, str]]:
    """Sort key of a file's name: numbers by their value, and times with a fraction (1700000000.25) too."""
    parts = re.split(r"([0-9]{9,}\.[0-9]+|[0-9]+)", path.stem)
    return [(Decimal(part), "") if i % 2 else (Decimal(-1), part) for i, part in enumerate(parts)]
