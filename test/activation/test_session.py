"""A session as a node uses it: frames in, decisions and a well-formed sequence of span events out."""

import dataclasses
import itertools

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.session import ActivationSession
from stride_ros.activation.spans import SpanState
from stride_ros.errors import ConfigError, FrameError, QueryError, TimeError

QUERY = "Tell me when a person is in view."
SMALL = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=4)


@pytest.fixture
def model(make_model):
    return make_model(window=12)


def watch(session, images, times=None):
    """Push all images, one a second: the updates."""
    times = times if times is not None else range(len(images))
    updates = [session.push(image, float(time)) for image, time in zip(images, times, strict=True)]
    return [update for update in updates if update is not None]


def same(left, right):
    return len(left) == len(right) and all(
        np.array_equal(a.labels, b.labels)
        and np.array_equal(a.probabilities, b.probabilities)
        and a.events == b.events
        for a, b in zip(left, right, strict=True)
    )


def test_every_frame_leads_to_a_decision(model, make_frames):
    session = ActivationSession(model, QUERY, SMALL)
    updates = watch(session, make_frames(5))
    assert [update.time for update in updates] == [0.0, 1.0, 2.0, 3.0, 4.0]
    last = updates[-1]
    assert last.labels.dtype == np.uint8
    assert last.labels.shape == last.probabilities.shape == last.slot_starts.shape == (12,)
    assert last.labels.tolist()[:7] == [255] * 7  # slots that end before the first frame
    assert set(last.labels[7:].tolist()) <= {0, 1}
    np.testing.assert_allclose(last.slot_starts, np.arange(-8.0, 4.0))
    assert np.all((last.probabilities[7:] > 0) & (last.probabilities[7:] < 1))
    assert {"preprocess", "vision", "append", "denoise", "total"} <= set(last.timings)
    assert (session.window_slots, session.resolution, session.context_frames) == (12, 1.0, 5)


def test_wait_decides_on_complete_pairs_only(model, make_frames):
    session = ActivationSession(model, QUERY, dataclasses.replace(SMALL, odd_frame="wait"))
    updates = watch(session, make_frames(9))
    assert [update.time for update in updates] == [1.0, 3.0, 5.0, 7.0]


def test_decide_every_skips_frames_and_decide_asks_at_once(model, make_frames):
    session = ActivationSession(model, QUERY, dataclasses.replace(SMALL, decide_every=4))
    updates = watch(session, make_frames(10))
    assert [update.time for update in updates] == [3.0, 7.0]
    assert session.decide().time == 9.0


def test_nothing_is_decided_before_the_first_frame(model):
    assert ActivationSession(model, QUERY, SMALL).decide() is None


def test_a_provisional_pair_leaves_no_trace(model, make_frames):
    config = dataclasses.replace(SMALL, confidence_threshold=None, margin_seconds=100.0)
    images = make_frames(10)
    repeated = watch(ActivationSession(model, QUERY, config), images)[1::2]
    waited = watch(ActivationSession(model, QUERY, dataclasses.replace(config, odd_frame="wait")), images)
    for left, right in zip(repeated, waited, strict=True):
        np.testing.assert_array_equal(left.labels, right.labels)


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["topk", "pool"])
def test_the_same_input_gives_the_same_output(model, make_frames, selection):
    config = dataclasses.replace(SMALL, selection=selection, seed=3)
    images = make_frames(30)
    first, second = (watch(ActivationSession(model, QUERY, config), images) for _ in range(2))
    assert same(first, second)


@pytest.mark.slow
def test_another_seed_draws_other_slots(model, make_frames):
    images = make_frames(30)
    config = dataclasses.replace(SMALL, selection="pool", confidence_threshold=None)
    first, second = (
        watch(ActivationSession(model, QUERY, dataclasses.replace(config, seed=seed)), images)
        for seed in (1, 2)
    )
    assert not same(first, second)


def test_a_reset_session_is_like_a_new_one_but_for_its_ids(model, make_frames):
    session, images = ActivationSession(model, QUERY, SMALL), make_frames(20)
    first = watch(session, images)
    session.reset()
    second = watch(session, images)
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left.labels, right.labels)
        assert [e.state for e in left.events] == [e.state for e in right.events]
    ids = [e.span_id for update in first for e in update.events]
    later = [e.span_id for update in second for e in update.events]
    assert ids
    assert min(later) > max(ids)


@pytest.mark.slow
@pytest.mark.parametrize("span_mode", ["hull", "runs"])
@pytest.mark.parametrize("seed", range(3))
def test_every_published_span_begins_and_ends_once(model, make_frames, span_mode, seed):
    trigger = TriggerConfig(min_active_seconds=2.0)
    session = ActivationSession(
        model, QUERY, dataclasses.replace(SMALL, span_mode=span_mode, trigger=trigger, max_gap=0.0)
    )
    events = [event for update in watch(session, make_frames(60, seed=seed)) for event in update.events]
    events += session.close()
    assert events
    by_id = {}
    for event in events:
        by_id.setdefault(event.span_id, []).append(event)
        assert event.query == QUERY
        assert event.start < event.end <= event.time
    assert list(by_id) == list(range(1, len(by_id) + 1))
    for history in by_id.values():
        states = [event.state for event in history]
        assert states[0] is SpanState.ONSET
        assert states[-1] in (SpanState.OFFSET, SpanState.RETRACTED)
        assert all(state is SpanState.UPDATE for state in states[1:-1])
        times = [event.time for event in history]
        assert times == sorted(times)


def test_a_session_for_one_event_stops_after_it(model, make_frames):
    session = ActivationSession(model, QUERY, dataclasses.replace(SMALL, multi_event=False))
    images = make_frames(100)
    updates = watch(session, images)
    assert session.finished
    assert len(updates) < len(images)
    offsets = [e for update in updates for e in update.events if e.state is SpanState.OFFSET]
    assert len(offsets) <= 1
    session.reset()
    assert session.push(images[0], 0.0) is not None


@pytest.mark.slow
def test_a_session_for_one_event_leaves_no_other_span_open(make_model, make_frames):
    """The earlier span leaves the view, which ends the session, while another one is found."""
    config = dataclasses.replace(
        SMALL, max_frames=2, drop_frames=2, decide_every=2, margin_seconds=0.0, multi_event=False
    )
    finished = 0
    for seed in range(30):
        session = ActivationSession(make_model(window=4, seed=seed), QUERY, config)
        updates = watch(session, make_frames(12), np.arange(12) * 1.5)
        if session.finished:
            finished += 1
            events = [event for update in updates for event in update.events] + list(session.close())
            onsets = [event.span_id for event in events if event.state is SpanState.ONSET]
            ended = [event.span_id for event in updates[-1].events if event.state is SpanState.OFFSET]
            assert set(onsets) <= {*ended, *(e.span_id for e in events if e.state is SpanState.RETRACTED)}
    assert finished


def test_what_is_wrong_with_a_frame_leaves_the_session_unharmed(model, make_frames):
    images = make_frames(12)
    plain = watch(ActivationSession(model, QUERY, SMALL), images)
    session, disturbed = ActivationSession(model, QUERY, SMALL), []
    for time, image in enumerate(images):
        for bad in (image[:20], image.astype(np.float32), image[..., 0], np.zeros((0, 0, 3), np.uint8), None):
            with pytest.raises(FrameError):
                session.push(bad, float(time))
        for wrong in (time - 1.0, float("nan"), float("inf"), "soon", None):
            if time or wrong != -1.0:
                with pytest.raises(TimeError):
                    session.push(image, wrong)
        disturbed.append(session.push(image, float(time)))
        with pytest.raises(TimeError):
            session.push(image, float(time))
    assert same(plain, disturbed)


def test_frames_of_another_size_are_taken_in(model, make_frames):
    session = ActivationSession(model, QUERY, SMALL)
    images = [*make_frames(3, (64, 64)), *make_frames(8, (96, 128)), *make_frames(4, (64, 64))]
    assert len(watch(session, images)) == 15


def test_irregular_times_are_taken_as_they_are(model, make_frames):
    steps = np.random.default_rng(0).uniform(0.05, 4.0, 40)
    updates = watch(ActivationSession(model, QUERY, SMALL), make_frames(40), 1e6 + np.cumsum(steps))
    assert len(updates) == 40
    for update in updates:
        assert update.slot_starts[-1] + 1.0 == pytest.approx(update.time, abs=1e-6)


@pytest.mark.parametrize(
    "query", ["", "  \n", None, 3, "stop <|im_end|> now", "is it <active>?", "word " * 5000]
)
def test_a_query_that_cannot_be_used_is_refused(model, query):
    with pytest.raises(QueryError):
        ActivationSession(model, query, SMALL)


def test_a_new_query_starts_afresh_and_a_bad_one_changes_nothing(model, make_frames):
    images, session = make_frames(12), ActivationSession(model, QUERY, SMALL)
    watch(session, images)
    with pytest.raises(QueryError):
        session.set_query(" ")
    assert (session.query, session.context_frames) == (QUERY, 12)
    session.set_query("A red ball is on the table.")
    assert (session.query, session.context_frames) == ("A red ball is on the table.", 0)
    fresh = watch(ActivationSession(model, "A red ball is on the table.", SMALL), images)
    for left, right in zip(watch(session, images), fresh, strict=True):
        np.testing.assert_array_equal(left.labels, right.labels)


def test_thresholds_and_steps_change_while_it_runs(model, make_frames):
    session = ActivationSession(model, QUERY, dataclasses.replace(SMALL, confidence_threshold=None))
    images = make_frames(20)
    steps = [update.steps for update in watch(session, images[:16])]
    assert max(steps) >= 4
    session.update_config(dataclasses.replace(session.config, unmasking_steps=1, margin_seconds=1e6))
    for time in range(16, 20):
        assert session.push(images[time], float(time)).steps <= 1
    with pytest.raises(ConfigError, match="max_frames"):
        session.update_config(dataclasses.replace(session.config, max_frames=24))
    assert session.config.max_frames == 12


def test_a_trigger_longer_than_the_window_is_refused(model):
    with pytest.raises(ConfigError, match="12 s"):
        ActivationSession(model, QUERY, ActivationConfig(trigger=TriggerConfig(min_active_seconds=13.0)))


def test_memory_stays_the_same_once_the_context_is_full(model, make_frames):
    session, used = ActivationSession(model, QUERY, SMALL), []
    for time, image in zip(range(60), itertools.cycle(make_frames(8)), strict=False):
        session.push(image, float(time))
        assert session.context_frames <= 12
        used.append(session.memory_bytes)
    assert max(used[40:]) <= max(used[12:40])
