"""What a responder remembers of one camera: its frames and the last commentaries."""

from __future__ import annotations

import threading
from collections import deque

from stride_ros.response.config import MAX_HISTORY, ResponseConfig
from stride_ros.response.frame_cache import FrameCache


class CameraMemory:
    """The recent frames and the last commentaries of one camera; both are thread-safe."""

    def __init__(self, config: ResponseConfig) -> None:
        self.frames = FrameCache(config)
        self.history = History()


class History:
    """The last commentaries, oldest first."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque(maxlen=MAX_HISTORY)
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        with self._lock:
            self._texts.append(text)

    def texts(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._texts)

    def clear(self) -> None:
        with self._lock:
            self._texts.clear()
