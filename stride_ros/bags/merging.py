"""Merge the messages of several storage files by log time, with few files open at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.bags.storage import BagMessage, Channel, Storage
from stride_ros.errors import SourceError


@dataclass(frozen=True)
class Part:
    """The requested channels of one file, and the log times (ns, ascending) of their messages."""

    storage: Storage
    channels: Collection[Channel]
    log_times: NDArray[np.int64]


def parts_of(storages: Sequence[Storage], choose: Callable[[Storage], Collection[Channel]]) -> list[Part]:
    """The parts that `choose` selects from each file."""
    parts = []
    for storage in storages:
        channels = choose(storage)
        parts.append(Part(storage, channels, storage.log_times(channels)))
        if len(storages) > 1:
            storage.rest()
    return parts


def merged(parts: Sequence[Part], start: int, stop: int) -> Iterator[BagMessage]:
    """The messages of the parts with `start <= log time < stop` (ns), by log time.

    A file is opened when its first message is due and released after its last one, so that a recording of
    thousands of splits needs no more memory or open files than one. Raises SourceError if a disk fails.
    """
    waiting: list[tuple[int, int]] = []  # log time of the first message, number of the part; latest first
    for number, part in enumerate(parts):
        first = int(np.searchsorted(part.log_times, start))
        if first < len(part.log_times) and part.log_times[first] < stop:
            waiting.append((int(part.log_times[first]), number))
    waiting.sort(reverse=True)
    heap: list[tuple[int, int, BagMessage, Iterator[BagMessage]]] = []
    while heap or waiting:
        while waiting and (not heap or waiting[-1] <= heap[0][:2]):
            number = waiting.pop()[1]
            part = parts[number]
            _advance(heap, number, parts, part.storage.messages(part.channels, start, stop))
        if heap:
            _, number, message, rest = heapq.heappop(heap)
            yield message
            _advance(heap, number, parts, rest)


def _advance(
    heap: list[tuple[int, int, BagMessage, Iterator[BagMessage]]],
    number: int,
    parts: Sequence[Part],
    messages: Iterator[BagMessage],
) -> None:
    storage = parts[number].storage
    try:
        message = next(messages, None)
    except OSError as error:
        raise SourceError(
            f"{storage.name} cannot be read any further ({error.strerror or error}); copy the recording to "
            "another disk."
        ) from error
    if message is not None:
        heapq.heappush(heap, (message.log_time, number, message, messages))
    elif len(parts) > 1:
        storage.rest()
