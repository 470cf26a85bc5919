"""Slot labels, and that each mask mode draws from its stated distribution."""

import numpy as np
import pytest

from stride_ros.errors import ConfigError
from stride_ros.training.masking import (
    BOUNDARY,
    FULL,
    INDEPENDENT,
    SPAN_AND_SCATTER,
    Entry,
    build_window,
    check_modes,
    choose_mask,
    label_slots,
    slot_starts,
)

N = 10
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 0], np.uint8)  # active span 3..6
DRAWS = 4000


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def draw(mode, labels=LABELS, draws=DRAWS, seed=1):
    rng = np.random.default_rng(seed)
    return np.array([choose_mask(labels, (mode,), rng)[0] for _ in range(draws)])


def assert_uniform(values, low, high):
    """Each of low..high occurs, all about as often (5 standard deviations)."""
    counts = np.bincount(values, minlength=high + 1)
    assert counts[:low].sum() == 0
    assert len(counts) == high + 1
    expected = len(values) / (high - low + 1)
    assert np.abs(counts[low:] - expected).max() < 5 * np.sqrt(expected)


def runs(mask):
    """(first, last) of each maximal run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(int), [0]))))
    return list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))


def test_a_slot_is_active_when_it_touches_the_event_at_a_point():
    starts = slot_starts(now=8.0, slots=8, resolution=1.0)
    assert starts.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    labels, _ = label_slots(starts, 1.0, [Entry(3.0, 5.0, active=True)])
    assert labels.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_the_first_matching_entry_decides():
    starts = slot_starts(now=8.0, slots=8, resolution=1.0)
    entries = [Entry(0.0, 3.5, active=False, shown=True), Entry(2.2, 5.5, active=True)]
    labels, shown = label_slots(starts, 1.0, entries)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert shown.tolist() == [True] * 4 + [False] * 4


def test_independent_mode_masks_a_uniform_number_of_slots_anywhere():
    masks = draw(INDEPENDENT)
    assert_uniform(masks.sum(axis=1), 1, N)
    assert np.abs(masks.mean(axis=0) - 5.5 / N).max() < 0.04


def test_full_mode_masks_everything():
    assert draw(FULL, draws=20).all()


def test_boundary_mode_reveals_up_to_three_tenths_as_separate_runs():
    revealed = ~draw(BOUNDARY, labels=np.zeros(20, np.uint8))
    assert_uniform(revealed.sum(axis=1), 1, 6)
    lengths = {last - first + 1 for row in revealed for first, last in runs(row)}
    assert lengths == {1, 2, 3, 4, 5, 6}


def test_boundary_mode_with_a_given_run_length_reveals_every_place_equally():
    rng = np.random.default_rng(2)
    places = [
        int(np.flatnonzero(~choose_mask(np.zeros(N, np.uint8), (BOUNDARY,), rng, budget=1)[0])[0])
        for _ in range(DRAWS)
    ]
    assert_uniform(np.array(places), 0, N - 1)


def test_boundary_mode_never_reveals_the_whole_edge():
    labels = np.zeros(20, np.uint8)
    labels[0] = 1  # watched: 0 and 1
    revealed = ~draw(BOUNDARY, labels=labels)
    assert not revealed[:, [0, 1]].all(axis=1).any()
    assert revealed[:, 0].any()
    assert revealed[:, 1].any()


def test_boundary_mode_falls_back_to_independent_for_a_single_active_slot(rng):
    mask, mode = choose_mask(np.array([1], np.uint8), (BOUNDARY,), rng)
    assert mode == INDEPENDENT
    assert mask.tolist() == [True]


def test_span_mode_masks_a_uniform_number_and_always_an_edge_of_the_span_when_more_than_one():
    masks = draw(SPAN_AND_SCATTER)
    assert_uniform(masks.sum(axis=1), 1, N)
    many = masks[masks.sum(axis=1) > 1]
    assert (many[:, 3] | many[:, 6]).all()  # the block holds the onset or the offset


def test_span_mode_takes_onset_and_offset_equally_often():
    rng = np.random.default_rng(3)
    labels = np.zeros(200, np.uint8)
    labels[60:140] = 1
    onset = offset = 0
    for _ in range(DRAWS):
        mask, _ = choose_mask(labels, (SPAN_AND_SCATTER,), rng, budget=4)
        onset += bool(mask[60])
        offset += bool(mask[139])
    assert abs(onset - offset) < 5 * np.sqrt(DRAWS)
    assert onset + offset >= DRAWS


def test_span_mode_block_reaches_outward_from_the_span():
    rng = np.random.default_rng(4)
    labels = np.zeros(100, np.uint8)
    labels[50] = 1  # a span of one slot: the block has one slot inside, the rest before or after it
    for _ in range(300):
        mask, _ = choose_mask(labels, (SPAN_AND_SCATTER,), rng, budget=8)
        block = next((first, last) for first, last in runs(mask) if first <= 50 <= last)
        assert mask.sum() == 8
        assert block[0] <= 50 <= block[1]
    assert mask[50]


def test_span_mode_without_an_event_masks_the_drawn_number():
    masks = draw(SPAN_AND_SCATTER, labels=np.zeros(N, np.uint8))
    assert_uniform(masks.sum(axis=1), 1, N)


def test_modes_are_drawn_equally():
    rng = np.random.default_rng(5)
    modes = np.array([choose_mask(LABELS, (1, 2, 3), rng)[1] for _ in range(DRAWS)])
    assert_uniform(modes - 1, 0, 2)


def test_unseen_slots_are_inactive_and_masked_in_one_of_five_ways():
    rng = np.random.default_rng(6)
    everything = nothing = some = 0
    for _ in range(DRAWS):
        # 6 of 16 slots end before the first frame; the event would lie there.
        window = build_window(9.5, 16, 1.0, [Entry(-8.0, -2.0, active=True)], (FULL,), rng)
        unseen = ~window.seen
        assert unseen.sum() == 6
        assert not window.labels[unseen].any()
        share = window.masked[unseen].mean()
        everything, nothing = everything + (share == 1), nothing + (share == 0)
        some += 0 < share < 1
        assert window.masked[window.seen].all()
    # all (1/5), the seen mode scaled (1/5) and a fresh mode (1/5) mask all six under mode 1; random k = 6 in
    # 1/6 of the draws of the third way.
    assert everything / DRAWS == pytest.approx(0.6 + 0.2 / 6, abs=0.04)
    assert nothing / DRAWS == pytest.approx(0.2, abs=0.03)
    assert some / DRAWS == pytest.approx(0.2 * 5 / 6, abs=0.03)


def test_unseen_slots_follow_the_seen_budget_in_boundary_mode():
    rng = np.random.default_rng(7)
    revealed = []
    for _ in range(DRAWS):
        window = build_window(10.5, 20, 1.0, [], (BOUNDARY,), rng)
        revealed.append(int((~window.masked[~window.seen]).sum()))
    counts = np.bincount(revealed, minlength=10) / DRAWS
    # 9 unseen slots: way "none" reveals all 9, ways 4 and 5 at most two (0.3 * 9).
    assert counts[9] == pytest.approx(0.2, abs=0.03)
    assert counts[1] + counts[2] == pytest.approx(0.4 + 0.2 * 2 / 9, abs=0.04)


def test_shown_slots_are_never_masked_and_a_window_of_them_asks_nothing(rng):
    entries = [Entry(0.0, 5.5, active=False, shown=True), Entry(5.5, 7.5, active=True)]
    for _ in range(50):
        window = build_window(8.0, 8, 1.0, entries, (1, 2, 3), rng)
        assert not window.masked[:6].any()
        assert window.tokens[:6].tolist() == [0] * 6
        assert window.labels.tolist() == [0] * 6 + [1, 1]
    assert build_window(8.0, 8, 1.0, [Entry(-1, 9, False, shown=True)], (1,), rng) is None


def test_impossible_modes_are_refused():
    with pytest.raises(ConfigError, match="one or more of 0, 1, 2, 3"):
        check_modes([1, 4])
    with pytest.raises(ConfigError):
        check_modes([])
