"""Where frames come from besides ROS: the synthetic world, a video, an image folder, a bag, a camera."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stride_ros.bags.files import is_recording
from stride_ros.errors import SourceError

if TYPE_CHECKING:
    from stride_ros.replay.bag_reader import BagReader
    from stride_ros.world import WorldEvent

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class SourceFrame:
    """One picture. `image`: (height, width, 3) uint8 RGB. `time`: s since the source's first frame."""

    image: np.ndarray
    time: float


class FrameSource(Protocol):
    """A finite or live sequence of frames whose times increase."""

    name: str  # for messages to the user
    live: bool  # the source sets the pace itself
    events: tuple[WorldEvent, ...]  # exact ground truth, by start time; empty where unknown
    notes: Sequence[str]  # what was left out or odd, a sentence each; complete once the frames were read

    def frames(self) -> Iterator[SourceFrame]:
        """Read from the start. Raises SourceError when reading fails."""


def open_source(
    source: str,
    *,
    rate: float = 10.0,
    seconds: float = 0.0,
    size: tuple[int, int] = (0, 0),
    seed: int = 0,
    image_topic: str | None = None,
    topic_option: str = "--image-topic",
) -> FrameSource:
    """Open `world`, a video file, a folder of images, a bag, or a V4L2 camera ("/dev/video0" or "0").

    rate: frames a second (at most, where the source has its own). seconds: length to read, 0 for all (60 s of
    world). size: (width, height) to scale to, 0 for the source's own. seed: which world. image_topic: of a
    bag, None for the only one; topic_option: what a user gives it with, for messages.
    Raises SourceError when there is nothing to read.
    """
    if image_topic and (source == "world" or not is_recording(Path(source).expanduser())):
        raise SourceError(f"{source} is no recording and has no image topics; leave {topic_option} out.")
    if source == "world":
        return WorldSource(seed, seconds or 60.0, rate, size)
    if re.fullmatch(r"\d+", source):
        source = f"/dev/video{source}"
    if source.startswith("/dev/"):
        return CameraSource(source, rate, seconds, size)
    path = Path(source).expanduser()
    if not source or not path.exists():
        raise SourceError(
            f"The source '{source}' does not exist; use world, a video file, an image folder, a bag or"
            " /dev/videoN."
        )
    if is_recording(path):
        return BagSource(path, rate, seconds, size, image_topic or None, topic_option)
    if path.is_dir():
        return FolderSource(path, rate, seconds, size)
    return VideoSource(path, rate, seconds, size)


class WorldSource:
    """The synthetic table top, with ground truth."""

    live = False
    notes = ()

    def __init__(self, seed: int, seconds: float, rate: float, size: tuple[int, int]) -> None:
        from stride_ros.world import World

        self._world = World(seed, seconds, (size[0] or 640, size[1] or 480), rate)
        self.name = f"world {seed}"
        self.events = self._world.events

    def frames(self) -> Iterator[SourceFrame]:
        for i in range(int(self._world.seconds * self._world.fps) + 1):
            time = i / self._world.fps
            yield SourceFrame(self._world.frame(time), time)


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
            yield SourceFrame(_scaled(np.ascontiguousarray(bgr[:, :, ::-1]), self._size), time)


class VideoSource:
    """A video file: every frame at its own time, thinned to `rate`."""

    live = False
    events = ()
    notes = ()

    def __init__(self, path: Path, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self.name = str(path)
        self._rate, self._seconds, self._size = rate, seconds, size
        _open(self.name).close()  # a file that cannot be read fails now, not in a thread later

    def frames(self) -> Iterator[SourceFrame]:
        with _open(self.name) as container:
            for image, time in _thinned(_decoded(container, self.name), self._rate):
                if self._seconds and time >= self._seconds:
                    return
                yield SourceFrame(_scaled(image, self._size), time)


class BagSource:
    """The images of one topic of a bag, at the times of their stamps, thinned to `rate`."""

    live = False
    events = ()

    def __init__(
        self,
        path: Path,
        rate: float,
        seconds: float,
        size: tuple[int, int],
        image_topic: str | None,
        topic_option: str,
    ) -> None:
        self.name = str(path)
        self.notes: list[str] = []
        self._rate, self._seconds, self._size = rate, seconds, size
        self._topic, self._option = image_topic, topic_option
        with self._open():
            pass  # a bag that cannot be read fails now, not in a thread later

    def frames(self) -> Iterator[SourceFrame]:
        from stride_ros.bags.clock import Tally

        tally, shown = Tally(), False
        with self._open() as bag:
            try:
                for image, time in bag.frames(self._rate, tally):
                    if self._seconds and time >= self._seconds:
                        return
                    shown = True
                    yield SourceFrame(_scaled(image, self._size), time)
            finally:
                self.notes = [*bag.notes, *tally.notes()]
        if tally.bad and not shown:
            raise SourceError(f"No image on {bag.image.topic} of {self.name} can be used: {tally.bad[0]}")

    def _open(self) -> BagReader:
        from stride_ros.replay.bag_reader import BagReader

        return BagReader(self.name, self._topic, option=self._option)


class CameraSource:
    """A V4L2 camera, at its own pace."""

    live = True
    events = ()
    notes = ()

    def __init__(self, device: str, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self.name = device
        self._rate, self._seconds, self._size = rate, seconds, size
        self._container = _open(device, format="v4l2", options=_camera_options(rate, size))

    def frames(self) -> Iterator[SourceFrame]:
        with self._container as container:
            for image, time in _thinned(_decoded(container, self.name), self._rate):
                if self._seconds and time >= self._seconds:
                    return
                yield SourceFrame(_scaled(image, self._size), time)


def _camera_options(rate: float, size: tuple[int, int]) -> dict[str, str]:
    options = {"framerate": f"{rate:g}"}
    if all(size):
        options["video_size"] = f"{size[0]}x{size[1]}"
    return options


def _open(name: str, **options: Any) -> Any:
    """Open a container that has a video stream, or raise SourceError with the reason."""
    try:
        import av
    except ImportError as error:
        raise SourceError("Reading videos and cameras needs PyAV; install it with: pip install av") from error
    try:
        container = av.open(name, **options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(_reason(name, error, is_device="format" in options)) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{name} has no video stream; choose another file.")
    return container


def _reason(name: str, error: Exception, is_device: bool) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return f"{name} does not exist; list the cameras with: ls /dev/video*"
    if code == errno.EBUSY:
        return f"{name} is used by another program; stop that one, or read its ROS topic instead."
    if code in (errno.EACCES, errno.EPERM):
        return f"{name} may not be opened; add your user to the video group, or run with access to it."
    if is_device:
        detail = getattr(error, "strerror", None) or error
        return f"{name} is not a working V4L2 camera ({detail}); try another /dev/videoN."
    return f"{name} is not a readable video; convert it, for example to MP4 with H.264."


def _decoded(container: Any, name: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield pictures (height, width, 3) uint8 RGB with their times (s from the first), never going back."""
    import av

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    first: float | None = None
    newest = -1.0
    count = 0
    try:
        for frame in container.decode(stream):
            time = frame.time
            if time is None:  # a raw stream without times: the nominal rate is all there is
                time = count / float(stream.average_rate or 25)
            count += 1
            first = time if first is None else first
            if time - first <= newest:
                continue
            newest = time - first
            yield _upright(frame), newest
    except av.error.FFmpegError as error:
        if count == 0:
            raise SourceError(
                f"{name} has no decodable picture; convert it, for example to H.264."
            ) from error
        raise SourceError(f"{name} is damaged after {newest:.1f} s; repair it or cut it there.") from error
    if count == 0:
        raise SourceError(f"{name} has no decodable picture; convert it, for example to H.264.")


def _upright(frame: Any) -> np.ndarray:
    """Return a decoded frame as RGB, turned as its rotation mark says (phones film sideways)."""
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def _thinned(frames: Iterator[tuple[np.ndarray, float]], rate: float) -> Iterator[tuple[np.ndarray, float]]:
    """Keep at most `rate` frames a second, on a steady grid."""
    due = 0.0
    for image, time in frames:
        if time + 1e-6 >= due:
            yield image, time
            due = max(due + 1 / rate, time)


def _scaled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size[0] or image.shape[1], size[1] or image.shape[0]
    if (height, width) == image.shape[:2]:
        return image
    import cv2

    shrinks = width < image.shape[1] and height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _natural(path: Path) -> list[tuple[Decimal, str]]:
    """Sort key of a file's name: numbers by their value, and times with a fraction (1700000000.25) too."""
    parts = re.split(r"([0-9]{9,}\.[0-9]+|[0-9]+)", path.stem)
    return [(Decimal(part), "") if i % 2 else (Decimal(-1), part) for i, part in enumerate(parts)]
