"""Cuts of annotated events: where the video starts and ends, and what its window is told."""

import numpy as np
import pytest

from stride_ros.training.samples import Event, cut_samples, prefix_bounds, quiet_cut

DRAWS = 400


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_an_event_gives_a_cut_before_inside_and_after_it(rng):
    event = Event(60.0, 80.0)
    for _ in range(50):
        before, inside, after = cut_samples([event], 0.0, 300.0, rng)
        assert before.end <= 60.0
        assert 60.0 <= inside.end <= 80.0
        assert 80.0 <= after.end <= 80.0 + 128.0
        for cut in (before, inside, after):
            assert cut.entries[-1].active
            assert (cut.entries[-1].start, cut.entries[-1].end) == (60.0, 80.0)


def test_an_event_at_the_videos_start_and_end_gives_the_cut_inside_only(rng):
    cuts = cut_samples([Event(0.0, 30.0)], 0.0, 30.0, rng)
    assert len(cuts) == 1
    assert 0.0 < cuts[0].end <= 30.0


def test_bounds_of_the_inactive_beginning():
    # A long event: a fifth of it less two seconds may be shown as inactive.
    assert prefix_bounds(Event(50.0, 90.0), [], 0.0) == (0.0, 56.0)
    # A short one: nothing of it.
    assert prefix_bounds(Event(50.0, 55.0), [], 0.0) == (0.0, 50.0)
    # An earlier event is settled at its end, or after 0.8 of it and two seconds if that is earlier.
    assert prefix_bounds(Event(50.0, 55.0), [Event(20.0, 24.0)], 0.0) == (24.0, 50.0)
    assert prefix_bounds(Event(50.0, 55.0), [Event(20.0, 40.0)], 0.0) == (38.0, 50.0)
    # Later events and ones that overlap do not count.
    assert prefix_bounds(Event(50.0, 55.0), [Event(60.0, 70.0), Event(45.0, 52.0)], 5.0) == (5.0, 50.0)


def test_the_inactive_beginning_is_settled_as_early_as_it_may_half_the_time_and_shown_nine_times_of_ten(rng):
    earlier, event = Event(20.0, 24.0), Event(60.0, 70.0)
    cuts = [cut_samples([earlier, event], 0.0, 200.0, rng)[-1] for _ in range(DRAWS)]
    shown = [cut for cut in cuts if cut.entries[0].shown]
    assert len(shown) / DRAWS == pytest.approx(0.9, abs=0.06)
    minimal = sum(cut.entries[0].end == 24.0 for cut in shown)
    assert minimal / len(shown) == pytest.approx(0.5, abs=0.08)
    assert all(24.0 <= cut.entries[0].end <= 60.0 for cut in shown)
    whole = sum(cut.start == 0.0 for cut in cuts)
    assert whole / DRAWS == pytest.approx(0.2, abs=0.07)


def test_enough_video_follows_the_inactive_beginning_and_clips_keep_to_their_length(rng):
    for _ in range(DRAWS):
        for cut in cut_samples([Event(400.0, 420.0), Event(500.0, 504.0)], 0.0, 1000.0, rng):
            assert 1.0 <= cut.end - cut.start <= 256.0
            if cut.entries[0].shown:
                assert cut.end >= cut.entries[0].end + 4.0
            assert cut.start >= cut.entries[-1].start - 128.0


def test_other_events_of_the_query_count_as_inactive(rng):
    for cut in cut_samples([Event(30.0, 35.0), Event(50.0, 55.0)], 0.0, 100.0, rng):
        assert sum(entry.active for entry in cut.entries) == 1


def test_a_quiet_cut_lies_in_the_video_and_knows_no_event(rng):
    for _ in range(DRAWS):
        cut = quiet_cut(5.0, 65.0, rng)
        assert 5.0 <= cut.start < cut.end <= 65.0 + 1e-9
        assert cut.end - cut.start >= 8.0
        assert cut.entries == ()
    assert quiet_cut(0.0, 0.5, rng) is None


def test_frames_are_taken_as_a_live_stream_has_them_or_spread_over_a_long_stretch():
    from stride_ros.training.dataset import Sampling

    assert Sampling(1.0, 512).times(10.0, 15.5) == [10.5, 11.5, 12.5, 13.5, 14.5, 15.5]
    assert Sampling(1.0, 512).times(10.0, 16.0) == [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]  # even in number
    assert Sampling(1.0, 512).times(10.0, 10.4) == [10.0, 10.4]
    assert Sampling(1.0, 4).times(0.0, 9.0) == [0.0, 3.0, 6.0, 9.0]


def test_a_short_window_is_not_told_that_a_later_event_is_inactive(rng):
    events = [Event(20.0, 24.0), Event(60.0, 64.0), Event(70.0, 75.0)]
    ends = {start: [] for start in (20.0, 60.0, 70.0)}
    for _ in range(DRAWS):
        for cut in cut_samples(events, 0.0, 300.0, rng, window=16.0):
            if cut.end > cut.entries[-1].end:
                ends[cut.entries[-1].start].append(cut.end)
    assert max(ends[20.0]) <= 60.0  # the next event begins long after this one has left the window
    assert 75.0 < max(ends[60.0]) <= 64.0 + 16.0  # the next begins while this one is still in it
    assert max(ends[70.0]) > 150.0  # nothing follows
