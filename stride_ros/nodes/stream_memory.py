"""How much memory the state of the streams takes, and can take, for the log and the diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from stride_ros.activation.stamped_engine import StampedEngine
    from stride_ros.nodes.diagnostics import Status

_MB = 1e6  # bytes


class StreamMemory:
    """Memory figures, written by the worker's thread, which owns the engine, and read by the executor's."""

    def __init__(self, log: Callable[[str], object]) -> None:
        """`log` gets the limit whenever it changes."""
        self._log = log
        self._known: tuple[object, ...] = ()
        self.bytes = 0
        self.limit = 0  # 0: not known before the first frame

    def measure(self, engine: StampedEngine, sizes: Mapping[str, tuple[int, int]]) -> None:
        """Read the figures of an engine; `sizes`: height and width (px) of the newest frames, by camera."""
        self.bytes = engine.memory_bytes
        known = (dict(sizes), engine.requests, engine.config)
        if not sizes or known == self._known:
            return
        self._known, limit = known, engine.most_bytes(sizes)
        if limit != self.limit:
            self.limit = limit
            each = " and ".join(sorted({f"{width}x{height}" for height, width in sizes.values()}))
            queries = counted(len(engine.requests), "query", "queries")
            frames = counted(engine.config.max_frames, "frame")
            streams = f"the streams of {len(sizes)} cameras take" if len(sizes) > 1 else "the stream takes"
            self._log(
                f"With images of {each}, {queries} and {frames} in context, "
                f"{streams} at most {limit / _MB:.1f} MB in addition to the model."
            )

    def forget(self) -> None:
        """Reset the figures, since there is no state any more."""
        self.bytes = self.limit = 0
        self._known = ()

    def report(self, status: Status) -> None:
        """Add both figures, once there is a frame."""
        if self.limit:
            status.add("stream memory (MB)", self.bytes / _MB)
            status.add("stream memory limit (MB)", self.limit / _MB)
