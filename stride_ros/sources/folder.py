"""Image files as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError, SourceError
from stride_ros.imaging.picture_file import read_picture
from stride_ros.sources.frames import SourceFrame, scaled
from stride_ros.text.order import natural
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from stride_ros.world import WorldEvent

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
LONGEST_FILE = 1 << 30  # bytes


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image; the files that macOS puts beside others are none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


class FolderSource:
    """The images of a folder in natural order (2 before 10), one every 1 / rate seconds, or a single image.

    What cannot be read is left out and keeps its time, so that what follows comes when it should.
    """

    live = False
    events: tuple[WorldEvent, ...] = ()

    def __init__(self, path: Path, rate: float, seconds: float, size: tuple[int, int]) -> None:
        found = path.iterdir() if path.is_dir() else [path]
        self._paths = sorted(
            (file for file in found if is_image(file)), key=lambda file: (natural(file.stem), file.name)
        )
        if not self._paths:
            raise SourceError(
                f"The folder {path} has no images; put {', '.join(IMAGE_SUFFIXES)} files into it."
            )
        self.name = str(path)
        self.notes: list[str] = []
        self._rate, self._seconds, self._size = rate, seconds, size

    def frames(self) -> Iterator[SourceFrame]:
        bad: list[str] = []
        count = 0
        try:
            for i, path in enumerate(self._paths):
                time = i / self._rate
                if self._seconds and time >= self._seconds:
                    break
                try:
                    image = scaled(_read(path), self._size)
                except SourceError as error:
                    bad.append(str(error))
                    continue
                count += 1
                yield SourceFrame(image, time)
        finally:
            self.notes = (
                [f"{len(bad)} of {counted(count + len(bad), 'image')} could not be used: {bad[0]}"]
                if bad
                else []
            )
        if bad and not count:
            raise SourceError(f"No image of {self.name} can be used: {bad[0]}")


def _read(path: Path) -> NDArray[np.uint8]:
    """The image of a file, (H, W, 3) uint8 RGB, as a viewer shows it. SourceError when it cannot be used."""
    try:
        if not path.is_file():
            raise SourceError(f"{path} is no file; remove it.")
        if path.stat().st_size > LONGEST_FILE:
            raise SourceError(f"The image {path} has more than {LONGEST_FILE >> 30} GiB; remove it.")
        return read_picture(path.read_bytes())
    except FrameError as error:
        raise SourceError(f"The image {path} cannot be used: {error}") from error
    except SourceError:
        raise
    except Exception as error:  # image parsers raise many types on broken data
        raise SourceError(f"The image {path} cannot be read; repair or remove it.") from error
