"""Questions that somebody asks about the frames; they leave no trace in the commentary on events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stride_ros.errors import StrideError
from stride_ros.response.backend import ResponseRequest
from stride_ros.response.config import ResponseConfig
from stride_ros.response.frame_cache import FrameCache
from stride_ros.response.request import make_request
from stride_ros.response.scheduler import Answer, AnswerScheduler, Job, NothingToShow
from stride_ros.text import topics
from stride_ros.text.foreign import mended


class NoSuchCamera(StrideError):
    """A question is about no camera that there is."""


class QueueFull(StrideError):
    """Too many questions wait."""


@dataclass(frozen=True)
class Question:
    """A question in natural language about the frames from `start` to `end` (ns).

    last: where `end` is 0, the newest frames of this length (ns) count instead; 0: the newest frame. camera:
    whose; empty for the only one. max_words, max_frames: limits of the answer and of what is shown for it.
    """

    text: str
    start: int = 0
    end: int = 0
    last: int = 0
    max_words: int = 60
    max_frames: int = 16
    camera: str = ""


@dataclass(frozen=True)
class Asked:
    """Context of a question's job. `tell(answer)` is called as `AnswerScheduler` calls its `publish`."""

    tell: Callable[[Answer], None]


class Questions:
    """Answers questions when no event waits for its commentary; called from the responder's one thread."""

    def __init__(
        self,
        scheduler: AnswerScheduler,
        frames: Mapping[str, FrameCache],
        config: Callable[[], ResponseConfig],
    ) -> None:
        """`frames`: by camera; the only one may be named ""."""
        self._scheduler, self._frames, self._config = scheduler, frames, config

    def ask(self, question: Question, tell: Callable[[Answer], None], max_waiting: int) -> Job:
        """Take on a question about the frames that are here now.

        `tell` gets what is said so far, and last an answer that has ended, unless it is withdrawn before.
        Raises NoSuchCamera, NothingToShow where no such frame is kept, QueueFull when so many questions wait
        already.
        """
        request = self._request(question)
        job = Job(
            lambda: request, time.monotonic(), Asked(tell), is_question=True, max_words=question.max_words
        )
        job.frame_stamps = request.frame_stamps
        if not self._scheduler.ask(job, max_waiting):
            raise QueueFull(
                f"Already {max_waiting} questions wait for an answer; ask later, or raise describe.max_queue."
            )
        return job

    def withdraw(self, job: Job) -> None:
        """Nobody wants the answer any more: nothing more of it is told, and the model stops soon."""
        self._scheduler.drop(job)

    def position(self, job: Job) -> int:
        """How many questions are answered before this one, this one's turn included; 0: it is its turn."""
        return self._scheduler.position(job)

    def _request(self, question: Question) -> ResponseRequest:
        camera = self._camera(question.camera)
        cache = self._frames[camera]
        newest = cache.newest
        if newest is None:
            topic = topics.of_camera(camera, topics.FRAMES)
            raise NothingToShow(f"No frame has arrived yet: check that `{topic}` is connected, or ask later.")
        end = question.end or newest
        start = question.start if question.end else newest - question.last
        frames = cache.select(start, end, question.max_frames).frames
        if not frames:
            raise NothingToShow(
                "No frame of that stretch is kept; ask about a later one, or raise cache_seconds and "
                "cache_frames."
            )
        config = self._config()
        made = make_request(config, mended(question.text), frames, frames[0].stamp)
        return ResponseRequest(
            query=made.query,
            frames=made.frames,
            span_start=0.0,
            system_prompt=made.system_prompt,
            frame_stamps=made.frame_stamps,
            max_words=question.max_words,
        )

    def _camera(self, name: str) -> str:
        """The name of the camera that is meant; NoSuchCamera where that is not clear."""
        if name in self._frames:
            return name
        names = list(self._frames)
        if names == [""]:
            raise NoSuchCamera("This node has one unnamed camera; leave camera empty.")
        if not name and len(names) == 1:
            return names[0]
        said = f"There is no camera {name!r}" if name else "There are several cameras"
        raise NoSuchCamera(f"{said}; use {' or '.join(names)}.")
