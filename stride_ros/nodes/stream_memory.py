"""What the stream's state takes in memory now, and at most: for the log and the diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from stride_ros.activation.stamped_stream import StampedStream
    from stride_ros.nodes.diagnostics import Status

_MB = 1e6  # bytes


class StreamMemory:
    """Measured by the worker's thread, which owns the stream; read by the executor's."""

    def __init__(self, log: Callable[[str], object]) -> None:
        """`log` is told the bound whenever it is new."""
        self._log = log
        self._known: tuple[object, ...] = ()
        self.bytes = 0
        self.limit = 0  # 0: not known before the first frame

    def measure(self, stream: StampedStream, size: tuple[int, int] | None) -> None:
        """Take the figures of a stream; `size`: height and width (px) of the newest frame it took in."""
        self.bytes = stream.memory_bytes
        known = (size, stream.queries, stream.config)
        if size is None or known == self._known:
            return
        self._known, limit = known, stream.most_bytes(*size)
        if limit != self.limit:
            self.limit = limit
            queries = counted(len(stream.queries), "query", "queries")
            frames = counted(stream.config.max_frames, "frame")
            self._log(
                f"With images of {size[1]}x{size[0]}, {queries} and {frames} in context, "
                f"the stream takes at most {limit / _MB:.1f} MB beside the model."
            )

    def forget(self) -> None:
        """There is no state any more."""
        self.bytes = self.limit = 0
        self._known = ()

    def report(self, status: Status) -> None:
        """Add both figures, once there is a frame."""
        if self.limit:
            status.add("stream memory (MB)", self.bytes / _MB)
            status.add("stream memory limit (MB)", self.limit / _MB)
