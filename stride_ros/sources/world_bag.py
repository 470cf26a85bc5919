"""Record the synthetic world: a bag with ground truth, a video, a labels file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from stride_ros.bags import messages
from stride_ros.bags.writer import START_STAMP, BagWriter
from stride_ros.errors import SourceError
from stride_ros.text import topics
from stride_ros.user_files.output import whole_file, write_whole
from stride_ros.world.world import World

FRAME_ID = "camera"

Report = Callable[[float], None]  # called with the time in the clip (s)


def frames(world: World, report: Report = lambda time: None) -> Iterator[tuple[float, np.ndarray]]:
    """Yield times (s) and frames at the world's rate."""
    for i in range(int(world.seconds * world.fps) + 1):
        time = i / world.fps
        yield time, world.frame(time)
        report(time)


def write_bag(
    world: World,
    path: str | Path,
    *,
    topic: str = topics.CAMERA,
    storage: str = "mcap",
    raw: bool = False,
    report: Report = lambda time: None,
) -> None:
    """Write a bag at `path` with the camera images and the ground truth.

    Images are JPEG on `topic`/compressed, or raw on `topic`. `ground_truth` has an ActivationSpan with state
    ONSET where an event begins and OFFSET where it ends; `ground_truth/commentary` has its sentence. Raises
    SourceError if the bag cannot be written.
    """
    truth = sorted(
        (stamp(time), state, i)
        for i, event in enumerate(world.events)
        for state, time in ((0, event.start), (2, event.end))
    )
    with BagWriter(path, storage) as bag:
        for time, frame in frames(world, report):
            now = stamp(time)
            bag.write_image(topic, frame, now, frame_id=FRAME_ID, raw=raw)
            while truth and truth[0][0] <= now:
                _write_truth(bag, world, *truth.pop(0))
        for item in truth:  # an event that ends with the clip, after the last frame
            _write_truth(bag, world, *item)


def stamp(time: float) -> int:
    """Nanoseconds on the bag's clock for a time in the clip (s)."""
    return START_STAMP + round(time * 1e9)


def _write_truth(bag: BagWriter, world: World, now: int, state: int, index: int) -> None:
    event = world.events[index]
    span = messages.span(
        index + 1,
        state,
        event.query,
        start=stamp(event.start),
        end=stamp(event.end) if state else now,
        stamp=now,
        frame_id=FRAME_ID,
        confidence=1.0,
        onset=stamp(event.start),
        model="world",
    )
    bag.write(f"/{topics.GROUND_TRUTH}", span, now)
    if state == 0:
        said = messages.commentary(
            index + 1, event.query, event.text, stamp=now, frame_id=FRAME_ID, model="world"
        )
        bag.write(f"/{topics.GROUND_TRUTH_COMMENTARY}", said, now)


def write_video(world: World, path: str | Path, report: Report = lambda time: None) -> None:
    """Write an H.264 video in the container of the file name suffix (.mp4, .mkv ...)."""
    import av

    try:
        with whole_file(path) as beside, av.open(str(beside), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(world.fps).limit_denominator(1000))
            stream.width, stream.height = (side - side % 2 for side in world.size)  # 4:2:0 needs even sides
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "20"}
            for _, frame in frames(world, report):
                picture = av.VideoFrame.from_ndarray(frame[: stream.height, : stream.width], format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    except (av.FFmpegError, ValueError, OSError) as error:
        raise SourceError(
            f"Video {path} cannot be written ({error}); choose a name like world.mp4."
        ) from error


def write_labels(world: World, path: str | Path) -> None:
    """Write the events as YAML, times in s from the first frame: labels for `train` and `replay --expect`."""
    lines = [
        f'- {{query: "{event.query}", start: {event.start:.2f}, end: {event.end:.2f},'
        f' text: "{event.text}"}}\n'
        for event in world.events
    ]
    write_whole(path, "".join(lines) or "[]\n")
