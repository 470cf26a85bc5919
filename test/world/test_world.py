"""The synthetic world: deterministic frames, exact ground truth, at any size."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from stride_ros.errors import ConfigError, StrideError, TimeError
from stride_ros.world import World, WorldConfig
from stride_ros.world.vocabulary import COLOURS, KINDS, all_queries


@pytest.fixture(scope="module")
def world():
    return World(seed=3, seconds=60, size=(320, 240))


def colour_share(frame, colour):
    """The share of pixels with the hue of ``colour``, among the saturated ones."""
    swatch = np.uint8([[COLOURS[colour]]])
    hue = int(cv2.cvtColor(swatch, cv2.COLOR_RGB2HSV)[0, 0, 0])
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(int)
    away = np.abs(hsv[..., 0] - hue)
    return float(((np.minimum(away, 180 - away) < 9) & (hsv[..., 1] > 150)).mean())


def test_the_same_seed_gives_the_same_frames_and_events_in_any_order(world):
    again = World(seed=3, seconds=60, size=(320, 240))
    assert again.events == world.events
    for time in (40.0, 0.0, 59.97, 40.0):
        np.testing.assert_array_equal(again.frame(time), world.frame(time))


def test_another_seed_gives_another_clip(world):
    other = World(seed=4, seconds=60, size=(320, 240))
    assert other.events != world.events
    assert not np.array_equal(other.frame(10.0), world.frame(10.0))


@pytest.mark.parametrize("size", [(640, 480), (64, 64), (96, 64), (64, 48), (321, 241)])
def test_frames_have_the_asked_size(size):
    frame = World(seed=0, seconds=5, size=size).frame(2.5)
    assert frame.shape == (size[1], size[0], 3)
    assert frame.dtype == np.uint8


def test_a_small_frame_shows_the_same_scene_as_a_large_one():
    config = WorldConfig(noise=0)
    large = World(seed=3, seconds=60, size=(640, 480), config=config)
    small = World(seed=3, seconds=60, size=(64, 48), config=config)
    assert large.events == small.events
    shrunk = cv2.resize(large.frame(20.0), (64, 48), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(shrunk - small.frame(20.0)).mean() < 8


@pytest.mark.parametrize("seed", range(12))
def test_events_can_be_told_at_one_frame_a_second(seed):
    world = World(seed=seed, seconds=90, size=(64, 48))
    assert len(world.events) >= 10
    for event in world.events:
        assert 0 <= event.start < event.end <= world.seconds
        assert event.end - event.start >= 3.0
    for query in world.queries:
        events = world.events_for(query)
        assert events
        for before, after in pairwise(events):
            assert after.start - before.end >= 3.0


def test_queries_come_most_frequent_first_and_negatives_have_no_event(world):
    counts = [len(world.events_for(query)) for query in world.queries]
    assert counts == sorted(counts, reverse=True)
    assert world.negative_queries
    assert all(world.events_for(query) == () for query in world.negative_queries)
    assert set(world.queries) | set(world.negative_queries) == set(all_queries())


def test_every_kind_of_event_happens_and_has_its_sentence():
    events = [event for seed in range(8) for event in World(seed=seed, size=(64, 48)).events]
    assert {event.kind for event in events} == set(KINDS)
    for event in events:
        assert event.text.endswith(".")
        assert event.query.startswith("Tell me when ")
        assert event.subject in event.text


@pytest.mark.parametrize("seed", range(4))
def test_an_object_is_seen_exactly_while_it_is_on_the_table(seed):
    config = WorldConfig(kinds=("on_table", "hand"), palette=1, clutter=False, light=0.3)
    world = World(seed=seed, seconds=60, size=(160, 120), config=config)
    events = world.events_for(world.queries[0]) if "table" in world.queries[0] else ()
    events = events or tuple(event for event in world.events if event.kind == "on_table")
    colour = events[0].subject.split()[0]
    for time in np.arange(0.0, 60.0, 0.5):
        share = colour_share(world.frame(float(time)), colour)
        if any(event.start + 1.5 <= time <= event.end - 1.5 for event in events):
            assert share > 0.008, time
        elif all(time < event.start - 1.5 or time > event.end + 1.5 for event in events):
            assert share < 0.003, time


def test_the_picture_is_dark_exactly_while_the_light_is_off():
    world = World(seed=0, seconds=90, size=(96, 64))
    nights = world.events_for("Tell me when the light is off.")
    assert nights
    for time in np.arange(0.0, 90.0, 0.5):
        inside = any(event.start + 0.4 <= time <= event.end - 0.4 for event in nights)
        outside = all(time <= event.start or time >= event.end for event in nights)
        brightness = world.frame(float(time)).mean()
        assert not inside or brightness < 75
        assert not outside or brightness > 85


def test_a_lifted_object_is_held_and_not_on_the_table():
    world = next(
        w
        for w in (World(seed=s, size=(64, 48)) for s in range(20))
        if any(e.kind == "held" for e in w.events)
    )
    held = next(event for event in world.events if event.kind == "held")
    table = world.events_for(f"Tell me when a {held.subject} is on the table.")
    assert any(event.end == held.start for event in table)
    assert any(event.start == held.end for event in table)
    assert any(
        hand.start < held.start and held.end < hand.end
        for hand in world.events_for("Tell me when a hand is in view.")
    )


LATE = WorldConfig(kinds=("on_table", "taken", "touch", "hand", "dark"))
TAKES, HANDS = "Tell me when a hand takes something away.", "Tell me when a hand is in view."


def test_a_hand_that_takes_a_thing_waits_like_one_that_leaves_it():
    """Half of the hands that come to a thing take it, and only the end of their stay tells."""
    takes, others = [], []
    for seed in range(40):
        world = World(seed=seed, seconds=90, size=(64, 48), config=LATE)
        starts = {event.start for event in world.events_for(TAKES)}
        put_down = {event.start for event in world.events if event.kind == "on_table"}
        for hand in world.events_for(HANDS):
            if hand.start in starts:
                takes.append(hand.end - hand.start)
            elif not any(0 <= start - hand.start < 1.0 for start in put_down):
                others.append(hand.end - hand.start)
    assert 0.4 < len(takes) / (len(takes) + len(others)) < 0.6
    assert min(takes) >= 3.0 + 2.2 - 0.01
    assert max(takes) <= 6.0 + 2.2 + 0.01
    assert min(others) >= 4.0
    assert max(others) <= 8.0


def test_a_thing_stands_until_the_hand_lifts_it_and_is_gone_after_it_was_taken():
    seen = 0
    for seed in range(12):
        world = World(seed=seed, seconds=60, size=(160, 120), config=replace(LATE, light=0.0, clutter=False))
        for take in world.events_for(TAKES):
            subject = take.subject
            colour = subject.split()[0]
            same = [e for e in world.events if e.kind == "on_table" and e.subject.split()[0] == colour]
            dark = [e for e in world.events if e.kind == "dark"]
            alone = [e for e in same if e.start < take.end + 3.0 and e.end > take.start]
            if len(alone) != 1 or any(e.start < take.end + 3.0 and e.end > take.start for e in dark):
                continue
            seen += 1
            assert alone[0].end == pytest.approx(take.end - 2.2, abs=0.01)
            assert colour_share(world.frame(take.start + 2.0), colour) > 0.008
            assert colour_share(world.frame(min(60.0, take.end + 1.3)), colour) < 0.003
    assert seen >= 3


def test_the_usual_world_knows_nothing_of_takes():
    assert TAKES not in all_queries()
    assert all(event.kind in KINDS for seed in range(8) for event in World(seed=seed, size=(64, 48)).events)


def test_the_vocabulary_can_be_limited():
    config = WorldConfig(colours=("red", "blue"), shapes=("ball",), kinds=("on_table",), lanes=1)
    world = World(seed=1, seconds=60, size=(64, 48), config=config)
    assert set(world.queries) <= {
        f"Tell me when a {colour} ball is on the table." for colour in ("red", "blue")
    }
    spans = [(event.start, event.end) for event in world.events]
    assert all(after[0] >= before[1] for before, after in pairwise(spans))


@pytest.mark.parametrize(
    "make",
    [
        lambda: World(seed=-1),
        lambda: World(seconds=0),
        lambda: World(size=(8, 480)),
        lambda: World(fps=0),
        lambda: WorldConfig(colours=("mauve",)),
        lambda: WorldConfig(kinds=()),
        lambda: WorldConfig(lanes=4),
        lambda: WorldConfig(min_gap=0.5),
    ],
)
def test_impossible_worlds_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_there_is_no_frame_outside_the_clip(world):
    for time in (-0.1, 60.1, float("nan")):
        with pytest.raises(TimeError, match="from 0 to 60 s") as caught:
            world.frame(time)
        assert isinstance(caught.value, StrideError)
