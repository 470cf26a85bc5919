"""Image files as a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_MOST_BAD = 10_000  # maximum bad images in a row, unless as many good ones came before
# Formats that phones and cameras store beside the readable ones.
_UNREAD = (
    ".heic",
    ".heif",
    ".avif",
    ".jxl",
    ".jp2",
    ".gif",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".ppm",
    ".pgm",
)


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image; the files that macOS puts beside others are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


class FolderSource:
    """The images of a folder in natural order (2 before 10), one every 1 / rate seconds, or a single image.

    Unreadable images are left out but keep their time, so that later images come when they should.
    """

    live = False
    own_rate: float | None = None
    events: tuple[WorldEvent, ...] = ()

    def __init__(self, path: Path, rate: float, seconds: float, size: tuple[int, int]) -> None:
        found = list(path.iterdir()) if path.is_dir() else [path]
        self._paths = sorted(
            (file for file in found if is_image(file)), key=lambda file: (natural(file.stem), file.name)
        )
        unread = Counter(file.suffix.lower() for file in found if file.suffix.lower() in _UNREAD)
        if not self._paths:
            raise SourceError(f"The folder {path} has no images; {_instead(found, unread)}")
        self.name = str(path)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(unread.items()))
        self._unread = [f"{kinds} of {path} were left out; convert them to JPEG or PNG."] if unread else []
        self.notes: list[str] = []
        self._rate, self._seconds, self._size = rate, seconds, size

    def frames(self) -> Iterator[SourceFrame]:
        bad: list[str] = []
        count = in_a_row = 0
        try:
            for i, path in enumerate(self._paths):
                time = i / self._rate
                if self._seconds and time >= self._seconds:
                    break
                try:
                    image = scaled(_read(path), self._size)
                except SourceError as error:
                    bad.append(str(error))
                    in_a_row += 1
                    if in_a_row > max(_MOST_BAD, count):
                        raise SourceError(
                            f"More than {in_a_row - 1:,} consecutive images of {self.name} cannot be used: "
                            f"{error}"
                        ) from error
                    continue
                count, in_a_row = count + 1, 0
                yield SourceFrame(image, time)
        finally:
            self.notes = list(self._unread)
            if bad:
                self.notes.append(
                    f"{len(bad)} of {counted(count + len(bad), 'image')} could not be used: {bad[0]}"
                )
        if bad and not count:
            raise SourceError(f"No image of {self.name} can be used: {bad[0]}")


def _instead(found: Sequence[Path], unread: Mapping[str, int]) -> str:
    """The remedy for a folder without images."""
    if unread:
        return f"convert its {', '.join(sorted(unread))} files to JPEG or PNG."
    folders = sorted(path.name for path in found if path.is_dir())
    if folders:
        return f"subfolders are not read, so give one of them, such as {folders[0]}."
    return f"put {', '.join(IMAGE_SUFFIXES)} files into it."


def _read(path: Path) -> NDArray[np.uint8]:
    """Read an image as a viewer shows it: (H, W, 3) uint8 RGB. SourceError if it cannot be used."""
    try:
        if not path.is_file():
            raise SourceError(f"{path} is not a file; remove it.")
        if path.stat().st_size > LONGEST_FILE:
            raise SourceError(f"The image {path} has more than {LONGEST_FILE >> 30} GiB; remove it.")
        return read_picture(path.read_bytes())
    except FrameError as error:
        raise SourceError(f"The image {path} cannot be used: {error}") from error
    except SourceError:
        raise
    except Exception as error:  # image parsers raise many types on broken data
        raise SourceError(f"The image {path} cannot be read; repair or remove it.") from error
