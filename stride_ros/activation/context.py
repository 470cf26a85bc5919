"""Which frames are in context, and when the oldest leave."""

from __future__ import annotations

from collections import deque


class Context:
    """Times of the frames in context; frames are counted from the beginning of the stream.

    start: index of the context's first frame, always the first of a pair; max_frames, drop_frames: how many
    fit, and how many of the oldest leave when one more comes; seconds: the time they cover, for the memory
    estimate; by default one second per frame.
    """

    def __init__(self, max_frames: int, drop_frames: int, seconds: float | None = None) -> None:
        self.max_frames, self.drop_frames = max_frames, drop_frames
        self.seconds = float(max_frames) if seconds is None else seconds
        self.start = 0
        self._times: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._times)

    @property
    def next_start(self) -> int:
        """Index of the context's first frame after the next shift."""
        return self.start + self.drop_frames

    @property
    def frames_to_shift(self) -> int:
        """How many more frames fit before the oldest have to leave."""
        return self.max_frames - len(self)

    def time(self, frame: int) -> float:
        """Time of a frame in context (s)."""
        return self._times[frame - self.start]

    def add(self, time: float) -> bool:
        """Add a new frame's time (s). True when the oldest frames had to leave for it, which is a shift."""
        self._times.append(time)
        if len(self) <= self.max_frames:
            return False
        for _ in range(self.drop_frames):
            self._times.popleft()
        self.start += self.drop_frames
        return True
