"""The throttle works on stamps and gives a steady rate for any camera."""

from __future__ import annotations

import numpy as np
import pytest

from stride_ros.activation.sampling import Sampler, Verdict

SECOND = 1_000_000_000


def kept(stamps: np.ndarray, rate: float = 1.0) -> np.ndarray:
    """The stamps (s) that a sampler keeps of these (s)."""
    sampler = Sampler(rate)
    return np.array([t for t in stamps if sampler.offer(round(1.7e18 + t * SECOND)) is Verdict.KEEP])


@pytest.mark.parametrize("camera", [5.0, 10.0, 15.0, 24.0, 29.97, 30.0, 60.0, 1.0])
def test_steady_rate_for_any_camera(camera: float) -> None:
    samples = kept(np.arange(0, 120, 1 / camera))
    assert len(samples) == pytest.approx(120, abs=1)
    assert np.abs(samples - np.arange(len(samples))).max() <= 0.5 / camera + 1e-6


def test_jittered_stamps_do_not_drift() -> None:
    stamps = np.arange(0, 300, 0.1) + np.random.default_rng(0).uniform(-0.03, 0.03, 3000)
    samples = kept(stamps)
    assert len(samples) in (300, 301)
    assert np.abs(samples - samples.round()).max() < 0.14  # a camera period plus the jitter


def test_lost_frames_do_not_move_the_grid() -> None:
    stamps = np.arange(0, 300, 0.1)
    samples = kept(stamps[np.random.default_rng(0).random(3000) > 0.3])
    assert len(samples) in (299, 300, 301)
    assert samples.max() > 298
    assert (samples - samples.round()).min() > -0.11


def test_jittered_camera_at_the_rate_loses_nothing() -> None:
    stamps = np.arange(0, 200.0) + np.random.default_rng(1).uniform(-0.1, 0.1, 200)
    assert len(kept(stamps)) == 200


def test_slow_camera_is_taken_whole() -> None:
    stamps = np.arange(0, 100, 1.43)
    assert np.array_equal(kept(stamps), stamps)


def test_rate_above_one() -> None:
    assert len(kept(np.arange(0, 60, 1 / 30), rate=2.5)) == pytest.approx(150, abs=1)


def test_grid_starts_anew_after_a_pause() -> None:
    stamps = np.concatenate([np.arange(0, 10, 0.1), np.arange(3600.33, 3610, 0.1)])
    samples = kept(stamps)
    assert np.allclose(samples[10:], 3600.33 + np.arange(10))


def test_verdicts_on_stamps_that_do_not_advance() -> None:
    sampler = Sampler(1.0)
    assert sampler.offer(100 * SECOND) is Verdict.KEEP
    assert sampler.offer(100 * SECOND) is Verdict.DUPLICATE
    assert sampler.offer(100 * SECOND - SECOND // 10) is Verdict.LATE
    assert sampler.offer(99 * SECOND) is Verdict.BACKWARD
    assert sampler.offer(101 * SECOND) is Verdict.KEEP  # nothing above changed the state
    sampler.reset()
    assert sampler.offer(1 * SECOND) is Verdict.KEEP


def test_live_rate_applies_to_the_next_frame() -> None:
    sampler = Sampler(1.0)
    sampler.offer(0)
    sampler.rate = 10.0
    verdicts = [sampler.offer(round(i * 0.1 * SECOND)) for i in range(1, 21)]
    assert verdicts.count(Verdict.KEEP) >= 10
