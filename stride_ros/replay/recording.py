"""The input of a replay: a bag or a video, with the images of one camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from stride_ros.bags.files import VIDEO_SUFFIXES
from stride_ros.bags.reader import BagReader
from stride_ros.user_files.paths import given_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stride_ros.activation.clock import Reading
    from stride_ros.activation.intake import Intake
    from stride_ros.bags.storage import BagMessage, Channel


class Recording(Protocol):
    """Images with stamps; `BagReader` implements this. A message is what `decode` takes."""

    path: Path
    image: Channel  # for a video, without a topic

    @property
    def seconds(self) -> float:
        """Time of the last image (s) since the first one."""

    def until(self, newest: float) -> float:
        """When the recording is over, if the newest image that was read is at `newest`; s from its first.

        An image stays as long as one usually does, at most 1 s.
        """

    @property
    def notes(self) -> Sequence[str]:
        """What was odd so far, one sentence each."""

    @property
    def topics(self) -> Mapping[str, str]:
        """Types by topic."""

    def part(self, start: float = 0.0, duration: float | None = None) -> tuple[int, int]:
        """Convert a part, in s from the first image, to its first and last log time (ns)."""

    def time(self, log_time: int) -> float:
        """Convert a log time (ns) to s from the first image."""

    def images(
        self,
        intake: Intake,
        start: int,
        stop: int,
        *,
        topics: Sequence[str] = (),
        clock: str = "header",
        other: Callable[[BagMessage], None] = lambda message: None,
    ) -> Iterator[tuple[Any, Reading]]:
        """The images between two log times (ns), with the readings of their stamps."""

    def messages(self, topics: Sequence[str]) -> Iterator[BagMessage]:
        """The messages on other topics, in the order of the log; damaged ones are left out."""

    def decode(self, message: Any) -> tuple[NDArray[np.uint8], str]:
        """Decode an image to (H, W, 3) uint8 RGB; also return its frame_id. Raises FrameError."""

    def close(self) -> None:
        """Close the files."""

    def __enter__(self) -> Recording: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_recording(path: str | Path, image_topic: str | None = None) -> Recording:
    """Open a bag, or a video, known by its file name suffix. `image_topic`: for bags. Raises SourceError."""
    given = given_path(path)
    if given.suffix.lower() in VIDEO_SUFFIXES and given.is_file():
        from stride_ros.replay.video_recording import VideoRecording

        return VideoRecording(given)
    return BagReader(path, image_topic)
