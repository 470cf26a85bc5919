"""What a step unmasks, what is retained, and where the slots lie."""

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.denoising import denoise, schedule, select
from stride_ros.activation.window import ACTIVE, INACTIVE, MASKED, History, SlotWindow


def run(decision, answer):
    """Run a denoising, answering each pass with `answer(labels)`: its outcome and the passes' labels."""
    passes, reply = [], None
    while True:
        try:
            request = decision.send(reply)
        except StopIteration as done:
            return done.value, passes
        passes.append(request.labels)
        reply = np.asarray(answer(request.labels), dtype=np.float32)


def window(newest=10.0, past=4):
    return SlotWindow.at(newest, 0.0, past, 0, 1.0)


def denoised(answer, config=None, history=None, completed_until=float("-inf"), at=None):
    config = config or ActivationConfig(unmasking_steps=2)
    return run(
        denoise(at or window(), completed_until, history, config, np.random.default_rng(config.seed)), answer
    )


def test_the_last_slot_ends_at_the_newest_frame():
    slots = SlotWindow.at(7.5, 5.0, 4, 0, 1.0)
    np.testing.assert_allclose(slots.starts, [3.5, 4.5, 5.5, 6.5])
    assert slots.ends[-1] == 7.5
    assert slots.unseen.tolist() == [True, False, False, False]
    assert slots.first_seen_start == 4.5


def test_a_slot_that_ends_just_before_the_first_frame_is_seen():
    assert SlotWindow.at(1.95, 0.0, 3, 0, 1.0).unseen.tolist() == [False, False, False]
    assert SlotWindow.at(1.85, 0.0, 3, 0, 1.0).unseen.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("slots", "steps", "expected"), [(8, 4, [2, 2, 2, 2]), (7, 3, [3, 2, 2]), (2, 4, [1, 1, 0, 0])]
)
def test_the_schedule_gives_the_remainder_to_the_first_steps(slots, steps, expected):
    assert schedule(slots, steps) == expected


def test_topk_takes_the_most_confident_and_the_earlier_of_equals():
    probabilities = np.array([0.5, 0.9, 0.2, 0.9], dtype=np.float32)
    assert sorted(select(probabilities, 2, "topk", np.random.default_rng(0))) == [1, 3]
    equal = np.full(4, 0.25, dtype=np.float32)
    assert select(equal, 2, "topk", np.random.default_rng(0)).tolist() == [0, 1]


def test_pool_draws_from_twice_as_many_and_repeats_with_its_seed():
    probabilities = np.linspace(0.5, 1.0, 20, dtype=np.float32)
    draws = [tuple(select(probabilities, 3, "pool", np.random.default_rng(seed))) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1
    assert all(index >= 14 for draw in draws for index in draw)


def test_the_most_confident_half_is_unmasked_first():
    outcome, passes = denoised(lambda labels: [0.9, 0.4, 0.1, 0.6])
    assert passes[0].tolist() == [MASKED] * 4
    assert passes[1].tolist() == [ACTIVE, MASKED, INACTIVE, MASKED]
    assert outcome.labels.tolist() == [ACTIVE, INACTIVE, INACTIVE, ACTIVE]
    np.testing.assert_allclose(outcome.probabilities, [0.9, 0.4, 0.1, 0.6])
    assert outcome.passes == 2


def test_slots_of_a_completed_span_are_settled():
    outcome, passes = denoised(lambda labels: [0.9] * 4, completed_until=8.0)
    assert passes[0].tolist() == [INACTIVE, INACTIVE, MASKED, MASKED]
    assert outcome.labels.tolist() == [INACTIVE, INACTIVE, ACTIVE, ACTIVE]
    assert outcome.probabilities[:2].tolist() == [0.0, 0.0]


def test_a_slot_keeps_its_label_where_the_baseline_agrees():
    previous = History.of(window(9.0), np.array([0, 1, 1, 0], dtype=np.uint8))  # slots 5..9
    outcome, passes = denoised(lambda labels: [0.8, 0.7, 0.9, 0.9], history=previous)
    assert passes[0].tolist() == [MASKED] * 4
    assert passes[1].tolist() == [ACTIVE, MASKED, MASKED, MASKED]  # 0.7 is too far from 1, 0.9 from 0
    assert outcome.labels.tolist() == [ACTIVE] * 4
    np.testing.assert_allclose(outcome.probabilities, [0.8, 0.7, 0.9, 0.9])


def test_a_slot_over_two_that_disagree_is_denoised_again():
    previous = History.of(window(9.5), np.array([1, 0, 0, 0], dtype=np.uint8))  # slots 5.5..9.5
    consensus = previous.consensus(window(10.0))
    assert consensus.tolist() == [MASKED, INACTIVE, INACTIVE, INACTIVE]


@pytest.mark.parametrize("threshold", [None, 0.75])
def test_where_every_slot_is_settled_no_pass_is_run(threshold):
    config = ActivationConfig(confidence_threshold=threshold)
    previous = History.of(window(9.0), np.zeros(4, dtype=np.uint8))
    outcome, passes = denoised(lambda labels: [0.5] * 4, config, previous, completed_until=10.0)
    assert passes == []
    assert outcome.passes == 0
    assert outcome.labels.tolist() == [INACTIVE] * 4
