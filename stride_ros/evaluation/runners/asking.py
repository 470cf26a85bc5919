"""Ask the responder the questions of items, several items at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from stride_ros.errors import BackendError, QueryError, StrideError
from stride_ros.evaluation.runners.clips import SharedFrames, Window, length_of
from stride_ros.evaluation.runners.store import Entry
from stride_ros.response.backend import ResponseBackend, brief
from stride_ros.response.config import ResponseConfig
from stride_ros.response.frame_cache import StampedFrame
from stride_ros.response.request import make_request, nanoseconds
from stride_ros.text.foreign import as_reason

_LOG = logging.getLogger(__name__)
_POLL = 0.1  # s between checks for an interrupt by the user
_IN_A_ROW = 5  # consecutive failures after which the responder is checked


@dataclass(frozen=True)
class Ask:
    """One question: `prompt` is the whole turn, `window` the part shown, `clip` its official file name."""

    prompt: str
    window: Window
    clip: str


@dataclass(frozen=True)
class Reply:
    """The responder's unchanged answer; None if it failed, with the reason in `error`."""

    text: str | None
    error: str = ""
    seconds: float = 0.0


Talk = Generator[Ask, Reply, Any]


@dataclass(frozen=True)
class AskItem:
    """An item for the responder.

    key: its place in the annotations. video: its file. at: when it is asked (s), which orders the items of a
    video. talk: yields questions and returns the result. windows: all parts that it may ask about. Both get
    the video's length (s).
    """

    key: str
    video: Path
    at: float
    talk: Callable[[float], Talk]
    windows: Callable[[float], list[Window]]


@dataclass(frozen=True)
class Shown:
    """What is shown of a window: frames per second, and the maximum number and size of frames (px)."""

    config: ResponseConfig
    rate: float = 1.0

    def frames(self, path: Path, windows: Sequence[Window]) -> SharedFrames:
        """Create a reader of these windows of a video."""
        config = self.config
        return SharedFrames(path, windows, rate=self.rate, count=config.max_frames, longest=config.cache_size)


class ServerGone(StrideError):
    """The responder has failed repeatedly and is not available."""


def by_video(items: Sequence[AskItem]) -> list[list[AskItem]]:
    """The items of each video together, by time, so that it is read once; videos in their given order."""
    groups: dict[Path, list[AskItem]] = {}
    for item in items:
        groups.setdefault(item.video, []).append(item)
    return [sorted(group, key=lambda item: item.at) for group in groups.values()]


def converse(
    item: AskItem,
    length: float,
    frames: SharedFrames,
    backend: ResponseBackend,
    shown: Shown,
    stop: Callable[[], bool],
) -> Entry:
    """Ask all questions of an item. Backend errors count as answers; other errors are raised."""
    entry = Entry(item.key)
    begun = time.monotonic()
    talk = item.talk(length)
    try:
        ask = next(talk)
        while True:
            images = frames.take(ask.window)
            reply = _reply(ask, images, backend, shown, stop)
            stamps = [image.stamp / 1e9 for image in images]
            entry.asked.append(
                {
                    "clip": ask.clip,
                    "start": ask.window.start,
                    "end": ask.window.end,
                    "prompt": ask.prompt,
                    "frames": len(stamps),
                    "reply": reply.text,
                }
            )
            entry.error = entry.error or reply.error
            ask = talk.send(reply)
    except StopIteration as end:
        entry.result = end.value
    finally:
        talk.close()
    entry.seconds = time.monotonic() - begun
    return entry


def _reply(
    ask: Ask, images: Sequence[StampedFrame], backend: ResponseBackend, shown: Shown, stop: Callable[[], bool]
) -> Reply:
    request = make_request(shown.config, ask.prompt, images, nanoseconds(ask.window.start))
    begun = time.monotonic()
    try:
        text = "".join(backend.stream(replace(request, verbatim=True), stop))
    except (BackendError, QueryError) as error:
        return Reply(None, as_reason(str(error)), time.monotonic() - begun)
    if stop():
        raise KeyboardInterrupt
    return Reply(text, seconds=time.monotonic() - begun)


class Asking:
    """Asks backends, a thread for each; videos in the given order, all items of a video in one thread."""

    def __init__(
        self, groups: Sequence[Sequence[AskItem]], backends: Sequence[ResponseBackend], shown: Shown
    ) -> None:
        self._waiting: Queue[Sequence[AskItem]] = Queue()
        for group in groups:
            self._waiting.put(group)
        self._backends, self._shown = backends, shown
        self._answered: Queue[Entry | BaseException | None] = Queue()
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[Entry]:
        """Yield entries as they come; ServerGone without a responder. If left early, the threads stop."""
        threads = [
            threading.Thread(target=self._work, args=(backend,), name=f"stride-ask-{number}", daemon=True)
            for number, backend in enumerate(self._backends)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._entries(len(threads))
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _entries(self, working: int) -> Iterator[Entry]:
        while working:
            try:
                found = self._answered.get(timeout=_POLL)
            except Empty:
                continue
            if found is None:
                working -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def _work(self, backend: ResponseBackend) -> None:
        failed = 0
        try:
            while not self._stop.is_set():
                try:
                    group = self._waiting.get_nowait()
                except Empty:
                    break
                for entry in self._of_video(group, backend):
                    self._answered.put(entry)
                    if entry.asked:
                        failed = failed + 1 if entry.asked[-1]["reply"] is None else 0
                    if failed == _IN_A_ROW:
                        failed = 0
                        _check(backend)
        except KeyboardInterrupt:
            pass  # the user's interrupt, which the main thread gets as well
        except BaseException as error:
            self._answered.put(error)
        finally:
            self._answered.put(None)

    def _of_video(self, group: Sequence[AskItem], backend: ResponseBackend) -> Iterator[Entry]:
        """The entries of the items of one video; an error of the video counts for each item."""
        path = group[0].video
        try:
            length = length_of(path)
            windows = {item.key: item.windows(length) for item in group}
            frames = self._shown.frames(path, [one for of_item in windows.values() for one in of_item])
        except StrideError as error:
            for item in group:
                yield Entry(item.key, error=as_reason(str(error)))
            return
        for item in group:
            if self._stop.is_set():
                return
            yield attempted(
                item.key,
                partial(converse, item, length, frames, backend, self._shown, self._stop.is_set),
            )
            for window in windows[item.key]:
                frames.drop(window)


def _check(backend: ResponseBackend) -> None:
    """Raise ServerGone if a backend that failed several times can no longer answer."""
    try:
        backend.warm_up()
    except BackendError as error:
        raise ServerGone(
            f"The responder failed {_IN_A_ROW} times in a row, and is no longer available "
            f"({str(error).rstrip('.')}); start it, and run the same command to resume."
        ) from error


def attempted(key: str, work: Callable[[], Entry]) -> Entry:
    """The result of the work, or the entry of its error, so that no item ends a run."""
    try:
        return work()
    except StrideError as error:
        return Entry(key, error=as_reason(str(error)))
    except Exception as error:  # models and decoders raise many types
        _LOG.exception("Item %s failed.", key)
        return Entry(key, error=as_reason(f"{type(error).__name__}: {brief(error)}."))
