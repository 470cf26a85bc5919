"""Questions about the frames; they leave no trace in the commentary on events."""

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
    """A question is about a camera that does not exist."""


class QueueFull(StrideError):
    """Too many questions are waiting."""


@dataclass(frozen=True)
class Question:
    """A question in natural language about the frames from `start` to `end` (ns).

    last: if `end` is 0, the newest frames over this time (ns) are used instead; 0: the newest frame. camera:
    its name; empty for the only one. max_words, max_frames: limits of the answer and of the frames shown for
    it.
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
    """Context of a question's job. `tell(answer)` is called like the `publish` of `AnswerScheduler`."""

    tell: Callable[[Answer], None]


class Questions:
    """Answers questions while no event waits for its commentary; called from the responder's one thread."""

    def __init__(
        self,
        scheduler: AnswerScheduler,
        frames: Mapping[str, FrameCache],
        config: Callable[[], ResponseConfig],
    ) -> None:
        """`frames`: by camera; the only one may be named ""."""
        self._scheduler, self._frames, self._config = scheduler, frames, config

    def ask(self, question: Question, tell: Callable[[Answer], None], max_waiting: int) -> Job:
        """Accept a question about the frames that are available now.

        `tell` gets the answer so far, and finally one that has ended, unless the question is withdrawn first.
        Raises NoSuchCamera, NothingToShow if no such frame is kept, QueueFull if the queue is full.
        """
        request = self._request(question)
        job = Job(
            lambda: request, time.monotonic(), Asked(tell), is_question=True, max_words=question.max_words
        )
        job.frame_stamps = request.frame_stamps
        if not self._scheduler.ask(job, max_waiting):
            raise QueueFull(
                f"{max_waiting} questions are already waiting for an answer; ask later, or raise "
                "describe.max_queue."
            )
        return job

    def withdraw(self, job: Job) -> None:
        """Withdraw a question: nothing more is reported, and the model stops soon."""
        self._scheduler.drop(job)

    def position(self, job: Job) -> int:
        """The position of a question in the queue, from 1; 0 if it is being answered."""
        return self._scheduler.position(job)

    def _request(self, question: Question) -> ResponseRequest:
        camera = self._camera(question.camera)
        cache = self._frames[camera]
        newest = cache.newest
        if newest is None:
            topic = topics.of_camera(camera, topics.FRAMES)
            raise NothingToShow(f"No frame has arrived yet; check that `{topic}` is connected, or ask later.")
        end = question.end or newest
        start = question.start if question.end else newest - question.last
        frames = cache.select(start, end, question.max_frames).frames
        if not frames:
            raise NothingToShow(
                "No frames of that time range are kept; ask about a later one, or raise cache_seconds and "
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
        """The name of the camera in question; NoSuchCamera if that is unclear."""
        if name in self._frames:
            return name
        names = list(self._frames)
        if names == [""]:
            raise NoSuchCamera("This node has one unnamed camera; leave camera empty.")
        if not name and len(names) == 1:
            return names[0]
        said = f"There is no camera {name!r}" if name else "There are several cameras"
        raise NoSuchCamera(f"{said}; use {' or '.join(names)}.")
