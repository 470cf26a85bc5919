"""The path of a frame: what a sink is handed, in which order, for each camera by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.frame_path import DecisionSink, Frame, FramePath
from stride_ros.activation.intake import Intake, cdr_stamp
from stride_ros.activation.sinks import Sinks
from stride_ros.activation.spans import SpanState
from stride_ros.activation.stamped_engine import StampedEngine
from stride_ros.activation.watch_request import requests_for
from stride_ros.errors import FrameError

SECOND = 10**9
START = 1_700_000_000 * SECOND
QUERIES = ("Tell me when it happens.", "Say when it happens.")
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))


def picture(index: int) -> np.ndarray:
    """With the golden checkpoint these grey levels make spans begin, move and end."""
    return np.full((48, 64, 3), (37 * index) % 256, np.uint8)


class Written(DecisionSink[Frame]):
    """A sink that writes down all it is handed."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def frame(self, stream: str, frame: Frame) -> None:
        self.calls.append((stream, "frame", frame.stamp))

    def decision(self, stream: str, frame: Frame, decision: Any) -> None:
        self.calls.append((stream, "decision", frame.stamp, decision.watch, decision.update.labels.tolist()))
        self._write(stream, decision.events)

    def decided(self, stream: str, frame: Frame, decisions: Any) -> None:
        self.calls.append((stream, "decided", frame.stamp, len(decisions)))

    def events(self, stream: str, frame: Frame, events: Any) -> None:
        self._write(stream, events)

    def rejected(self, stream: str, error: Exception) -> None:
        self.calls.append((stream, "rejected", str(error)))

    def note(self, stream: str, sentence: str) -> None:
        self.calls.append((stream, "note", sentence))

    def _write(self, stream: str, events: Any) -> None:
        for event in events:
            self.calls.append((stream, "event", event.watch, event.event.span_id, event.event.state))

    def of(self, stream: str, *kinds: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == stream and (not kinds or call[1] in kinds)]


class Rig:
    """A path with an intake for each camera, fed as the node and a replay feed theirs."""

    def __init__(self, model: Any, *cameras: str) -> None:
        self.sink = Written()
        self.intakes = {camera: Intake(1.0) for camera in cameras}
        notes = {camera: intake.notes for camera, intake in self.intakes.items()}
        engine = StampedEngine(model, requests_for(QUERIES), CONFIG, cameras=cameras)
        self.path = FramePath[Frame](engine, notes, Sinks(self.sink))

    def feed(self, camera: str, second: float, index: int, decode: Callable[..., Any] = picture) -> None:
        self.path.take(self.due(camera, second, index, decode))

    def due(
        self, camera: str, second: float, index: int, decode: Callable[..., Any] = picture
    ) -> dict[str, Callable[[], Frame]]:
        """What the path is to take, if the frame is due."""
        stamp = START + round(second * SECOND)
        intake = self.intakes[camera]
        reading = intake.read(stamp, stamp)
        assert reading is not None
        if not intake.is_due(reading):
            return {}
        if reading.jump is not None:
            self.path.jumped(camera, reading)
        return {camera: lambda: Frame(reading, decode(index), "camera")}


@pytest.fixture
def model(golden: Any) -> Any:
    return golden.load("checkpoint_single")


def numbered(calls: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """With the ids of spans, which are unique among all cameras, as a count of this camera's."""
    counts: dict[int, int] = {}
    return [
        (*call[:2], counts.setdefault(call[2], len(counts) + 1), call[3]) if call[0] == "event" else call
        for call in calls
    ]


@pytest.mark.parametrize("together", [False, True])
def test_cameras_go_their_ways_beside_each_other(model: Any, together: bool) -> None:
    both = Rig(model, "front", "rear")
    for i in range(12):
        front, rear = both.due("front", i, i), both.due("rear", i + 0.3, 7 * i)
        for due in [{**front, **rear}] if together else [front, rear]:
            both.path.take(due)
        if i == 6:
            both.path.restart("front")
    both.path.close()
    for camera, factor, offset in (("front", 1, 0.0), ("rear", 7, 0.3)):
        alone = Rig(model, camera)
        for i in range(12):
            alone.feed(camera, i + offset, factor * i)
            if i == 6 and camera == "front":
                alone.path.restart(camera)
        alone.path.close()
        assert numbered(both.sink.of(camera)) == numbered(alone.sink.of(camera))
        assert {call[1] for call in alone.sink.of(camera, "event")} == {"query_1", "query_2"}


def test_the_frame_comes_before_its_decisions_and_their_end_after(model: Any) -> None:
    rig = Rig(model, "")
    rig.feed("", 0.0, 0)
    kinds = [call[1] for call in rig.sink.calls if call[1] != "event"]
    assert kinds == ["frame", "decision", "decision", "decided"]


def test_only_what_is_due_is_decoded(model: Any) -> None:
    rig, decoded = Rig(model, ""), []
    for i in range(41):
        rig.feed("", i / 10, i // 10, lambda index: decoded.append(index) or picture(index))
    assert decoded == [0, 1, 2, 3, 4]


def test_a_gap_ends_what_is_open_before_the_next_frame(model: Any) -> None:
    rig = Rig(model, "")
    for i in range(8):
        rig.feed("", i, i)
    known = {call[2]: call[3] for call in rig.sink.of("", "event")}
    still = {span for span, state in known.items() if state in (SpanState.ONSET, SpanState.UPDATE)}
    assert still
    seen = len(rig.sink.calls)
    rig.feed("", 100.0, 0)
    after = rig.sink.calls[seen:]
    assert after[0] == (
        "",
        "note",
        "At 0:07.0 no images for 93.0 s, longer than the window: the stream restarted.",
    )
    ends = [call for call in after if call[1] == "event"]
    assert after[1 : 1 + len(ends)] == ends, "ended before the frame"
    assert {call[3] for call in ends} == still
    assert rig.intakes[""].notes.sentences() == [after[0][2]]


def test_images_that_cannot_be_used_are_told_and_counted(model: Any) -> None:
    rig = Rig(model, "")

    def damaged(index: int) -> np.ndarray:
        raise FrameError("It is damaged.")

    rig.feed("", 0.0, 0)
    rig.feed("", 1.0, 1, damaged)
    rig.feed("", 2.0, 2, lambda index: picture(index)[:, :16])
    rig.feed("", 3.0, 3)
    rejected = rig.sink.of("", "rejected")
    assert rejected[0] == ("rejected", "It is damaged.")
    assert "32" in rejected[1][1]
    assert [call[1] for call in rig.sink.of("", "decided")] == [START, START + 3 * SECOND]
    (note,) = rig.intakes[""].notes.sentences()
    assert note == "2 of 4 images could not be used: It is damaged."


def test_other_queries_end_what_is_open_under_the_name_of_its_watch(model: Any) -> None:
    rig = Rig(model, "")
    for i in range(8):
        rig.feed("", i, i)
    seen = len(rig.sink.calls)
    rig.path.apply(requests_for(QUERIES[:1]), CONFIG)
    ended = rig.sink.calls[seen:]
    assert ended
    assert {call[2] for call in ended} <= {"query_1", "query_2"}
    rig.feed("", 8.0, 8)
    assert [call[2] for call in rig.sink.of("", "decision")[-1:]] == ["query"]


@pytest.mark.parametrize(
    ("data", "stamp"),
    [
        (bytes([0, 1, 0, 0]) + (7).to_bytes(4, "little") + (5).to_bytes(4, "little"), 7 * SECOND + 5),
        (bytes([0, 0, 0, 0]) + (7).to_bytes(4, "big") + (5).to_bytes(4, "big"), 7 * SECOND + 5),
        (bytes([0, 1, 0, 0]) + (-7).to_bytes(4, "little", signed=True) + bytes(4), -7 * SECOND),
    ],
)
def test_stamps_are_read_in_either_byte_order(data: bytes, stamp: int) -> None:
    assert cdr_stamp(data) == stamp
    for size in range(len(data)):
        with pytest.raises(FrameError, match="cut off"):
            cdr_stamp(data[:size])
