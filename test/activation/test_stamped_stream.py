"""Watches on one stream of stamped frames: what each decides, counts and leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.spans import SpanState
from stride_ros.activation.stamped_stream import Decision, StampedEvent, StampedStream
from stride_ros.activation.watch_request import WatchRequest, requests_for
from stride_ros.errors import ConfigError, QueryError

SECOND = 10**9
START = 1_700_000_000 * SECOND
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(0.0, 0.0))
THIS, THAT = "Say when it happens.", "Tell me when they come."


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def model() -> ActivationModel:
    return ActivationModel.load(str(GOLDEN / "checkpoint_single"))


def play(stream: StampedStream, first: int, last: int) -> list[list[Decision]]:
    """Show grey frames with which the golden checkpoint's spans begin, move and end."""
    frames = (np.full((48, 64, 3), (37 * index) % 256, np.uint8) for index in range(first, last))
    return [stream.push(frame, START + (first + i) * SECOND) for i, frame in enumerate(frames)]


def labels(decided: list[list[Decision]], watch: str) -> list[list[int]]:
    return [d.update.labels.tolist() for tick in decided for d in tick if d.watch == watch]


def test_a_refused_change_changes_nothing(model: ActivationModel) -> None:
    stream = StampedStream(model, requests_for([THIS]), CONFIG)
    play(stream, 0, 4)
    other = replace(CONFIG, unmasking_steps=2)
    for bad, error in (
        ([], QueryError),
        ([*requests_for([THIS]), WatchRequest("bad", " ")], QueryError),
        ([*requests_for([THIS]), WatchRequest("bad", THAT, TriggerConfig(1e6, 0.0))], ConfigError),
    ):
        with pytest.raises(error):
            stream.apply(bad, other)
        assert stream.config == CONFIG
        assert stream.queries == (THIS,)
    with pytest.raises(ConfigError):
        stream.apply([*requests_for([THIS]), WatchRequest("new", THAT)], replace(CONFIG, max_frames=8))
    assert stream.queries == (THIS,)


def test_a_watch_that_looks_back_where_there_is_nothing_yet_is_like_any_other(model: ActivationModel) -> None:
    requests = [WatchRequest("plain", THAT), WatchRequest("back", THAT, look_back=60.0)]
    stream = StampedStream(model, requests, CONFIG, look_back=True)
    decided = play(stream, 0, 12)
    assert labels(decided, "plain") == labels(decided, "back")
    assert len(labels(decided, "plain")) == 12
    stream.restart()
    again = play(stream, 20, 26)
    assert labels(again, "plain") == labels(again, "back")


def test_spans_that_began_before_the_look_back_do_not_count(model: ActivationModel) -> None:
    """Both catch up on the same frames at the same pace; what they count differs by where they begin."""
    asked, newest = 10, 9

    def events(look_back: float) -> list[StampedEvent]:
        stream = StampedStream(model, [WatchRequest("first", THIS)], CONFIG, look_back=True)
        play(stream, 0, asked)
        stream.apply([WatchRequest("first", THIS), WatchRequest("late", THAT, look_back=look_back)], CONFIG)
        ticks = play(stream, asked, asked + 25)
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
    stream = StampedStream(model, requests, CONFIG)
    events = [event for tick in play(stream, 0, 20) for decision in tick for event in decision.events]
    events += stream.restart()
    assert {(event.watch, event.respond) for event in events} == {("aloud", True), ("silent", False)}
