"""Watches on the streams of stamped frames: what each decides, counts and leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.spans import SpanState
from stride_ros.activation.stamped_engine import StampedEngine
from stride_ros.activation.stamped_stream import Decision, StampedEvent
from stride_ros.activation.watch_request import WatchRequest, requests_for
from stride_ros.errors import CapacityError, ConfigError, QueryError

SECOND = 10**9
START = 1_700_000_000 * SECOND
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(0.0, 0.0))
THIS, THAT = "Say when it happens.", "Tell me when they come."


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def model() -> ActivationModel:
    return ActivationModel.load(str(GOLDEN / "checkpoint_single"))


def grey(index: int) -> np.ndarray:
    """With such frames the golden checkpoint's spans begin, move and end."""
    return np.full((48, 64, 3), (37 * index) % 256, np.uint8)


def play(engine: StampedEngine, first: int, last: int) -> list[list[Decision]]:
    """Show frames to the only camera."""
    return [
        engine.push({"": (grey(index), START + index * SECOND)}).decisions[""] for index in range(first, last)
    ]


def labels(decided: list[list[Decision]], watch: str) -> list[list[int]]:
    return [d.update.labels.tolist() for tick in decided for d in tick if d.watch == watch]


def test_a_refused_change_changes_nothing(model: ActivationModel) -> None:
    engine = StampedEngine(model, requests_for([THIS]), CONFIG)
    play(engine, 0, 4)
    other = replace(CONFIG, unmasking_steps=2)
    for bad, error in (
        ([], QueryError),
        ([*requests_for([THIS]), WatchRequest("bad", " ")], QueryError),
        ([*requests_for([THIS]), WatchRequest("bad", THAT, TriggerConfig(1e6, 0.0))], ConfigError),
    ):
        with pytest.raises(error):
            engine.apply(bad, other)
        assert engine.config == CONFIG
        assert engine.requests == requests_for([THIS])
    with pytest.raises(ConfigError):
        engine.apply([*requests_for([THIS]), WatchRequest("new", THAT)], replace(CONFIG, max_frames=8))
    assert engine.requests == requests_for([THIS])


def test_a_watch_that_looks_back_where_there_is_nothing_yet_is_like_any_other(model: ActivationModel) -> None:
    requests = [WatchRequest("plain", THAT), WatchRequest("back", THAT, look_back=60.0)]
    engine = StampedEngine(model, requests, CONFIG, look_back=True)
    decided = play(engine, 0, 12)
    assert labels(decided, "plain") == labels(decided, "back")
    assert len(labels(decided, "plain")) == 12
    engine.restart("")
    again = play(engine, 20, 26)
    assert labels(again, "plain") == labels(again, "back")


def test_spans_that_began_before_the_look_back_do_not_count(model: ActivationModel) -> None:
    """Both catch up on the same frames at the same pace; what they count differs by where they begin."""
    asked, newest = 10, 9

    def events(look_back: float) -> list[StampedEvent]:
        engine = StampedEngine(model, [WatchRequest("first", THIS)], CONFIG, look_back=True)
        play(engine, 0, asked)
        engine.apply([WatchRequest("first", THIS), WatchRequest("late", THAT, look_back=look_back)], CONFIG)
        ticks = play(engine, asked, asked + 25)
        return [event for tick in ticks for decision in tick for event in decision.events]

    def onsets(found: list[StampedEvent]) -> list[int]:
        late = [event for event in found if event.watch == "late"]
        return [event.start_ns for event in late if event.event.state is SpanState.ONSET]

    everything, some = events(60.0), events(1.0)
    since = START + (newest - 1) * SECOND
    assert min(onsets(everything)) < since
    assert onsets(some) == [start for start in onsets(everything) if start >= since]
    for found in (everything, some):
        begun: set[int] = set()
        for event in (event for event in found if event.watch == "late"):
            assert (event.event.state is SpanState.ONSET) == (event.event.span_id not in begun)
            begun.add(event.event.span_id)


def test_events_say_whether_the_responder_is_to_speak(model: ActivationModel) -> None:
    requests = [WatchRequest("aloud", THIS), WatchRequest("silent", THAT, respond=False)]
    engine = StampedEngine(model, requests, CONFIG)
    events = [event for tick in play(engine, 0, 20) for decision in tick for event in decision.events]
    events += engine.restart("")
    assert {(event.watch, event.respond) for event in events} == {("aloud", True), ("silent", False)}


def play_two(engine: StampedEngine, first: int, last: int) -> list[dict[str, list[Decision]]]:
    """Show other frames to `rear` than to `front`."""
    ticks = []
    for index in range(first, last):
        stamp = START + index * SECOND
        pushed = engine.push({"front": (grey(index), stamp), "rear": (grey(7 * index), stamp)})
        assert not pushed.errors
        ticks.append(pushed.decisions)
    return ticks


def test_a_watch_sees_the_cameras_that_it_is_for(model: ActivationModel) -> None:
    requests = [WatchRequest("both", THIS), WatchRequest("rear only", THAT, cameras=("rear",))]
    engine = StampedEngine(model, requests, CONFIG, cameras=("front", "rear"))
    ticks = play_two(engine, 0, 20)
    assert {decision.watch for tick in ticks for decision in tick["front"]} == {"both"}
    assert {decision.watch for tick in ticks for decision in tick["rear"]} == {"both", "rear only"}
    events = [event for tick in ticks for found in tick.values() for d in found for event in d.events]
    onsets = [event.event.span_id for event in events if event.event.state is SpanState.ONSET]
    assert len(onsets) > 2
    assert sorted(onsets) == list(range(1, len(onsets) + 1)), "unique among all cameras and watches"


def test_what_a_watch_gives_up_ends_on_that_camera_alone(model: ActivationModel) -> None:
    engine = StampedEngine(model, [WatchRequest("w", THIS)], CONFIG, cameras=("front", "rear"))
    alone = StampedEngine(model, [WatchRequest("w", THIS)], CONFIG, cameras=("front", "rear"))
    play_two(engine, 0, 9)
    play_two(alone, 0, 9)
    other = [WatchRequest("w", THIS, cameras=("front",)), WatchRequest("x", THAT, cameras=("rear",))]
    ended = engine.apply(other, CONFIG)
    assert ended["front"] == []
    assert [event.event.state for event in ended["rear"]] == [SpanState.OFFSET] * len(ended["rear"])
    assert ended["rear"] == alone.restart("rear")
    for tick, expected in zip(play_two(engine, 9, 20), play_two(alone, 9, 20), strict=True):
        assert [d.watch for d in tick["front"]] == ["w"]
        assert tick["front"][0].update.labels.tolist() == expected["front"][0].update.labels.tolist()
        assert {d.watch for d in tick["rear"]} <= {"x"}


def test_a_frame_that_cannot_be_used_costs_its_camera_alone(model: ActivationModel) -> None:
    engine = StampedEngine(model, requests_for([THIS]), CONFIG, cameras=("front", "rear"))
    play_two(engine, 0, 3)
    stamp = START + 3 * SECOND
    pushed = engine.push({"front": (grey(3)[:8], stamp), "rear": (grey(21), stamp)})
    assert list(pushed.errors) == ["front"]
    assert len(pushed.decisions["rear"]) == 1
    assert engine.lost_sight("front", stamp) is None
    assert play_two(engine, 4, 6)[-1]["front"]


def test_all_cameras_are_admitted_together(model: ActivationModel) -> None:
    cameras, size = ("front", "rear"), (48, 64)
    one, two = [WatchRequest("a", THIS)], [WatchRequest("a", THIS), WatchRequest("b", THAT)]
    free = StampedEngine(model, two, CONFIG, cameras=cameras)
    limit = free.most_bytes(dict.fromkeys(cameras, size)) - 1
    engine = StampedEngine(model, one, CONFIG, cameras=cameras, memory_limit=limit)
    play_two(engine, 0, 3)
    with pytest.raises(CapacityError) as refused:
        engine.apply(two, CONFIG)
    assert refused.value.needed == limit + 1
    assert refused.value.free == limit
    assert "front, rear" in str(refused.value)
    assert engine.requests == tuple(one)
    # A watch of one camera fits, and one that takes another's place as well.
    engine.apply([*one, WatchRequest("b", THAT, cameras=("rear",))], CONFIG)
    engine.apply([*one, WatchRequest("b", THAT, cameras=("front",))], CONFIG)
    assert {d.watch for d in play_two(engine, 3, 8)[-1]["front"]} == {"a", "b"}
