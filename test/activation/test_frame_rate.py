"""A rate that leaves slots of the model empty, or fills one with several, is reported with a remedy."""

import pytest

from stride_ros.activation.frame_rate import rate_note, rate_that_fits


@pytest.mark.parametrize(
    ("rate", "resolution"), [(1.0, 1.0), (2.0, 0.5), (0.7, 1.0), (1.5, 1.0), (4.0, 0.25)]
)
def test_about_one_frame_per_slot_is_not_worth_a_note(rate, resolution):
    assert rate_note(rate, resolution) is None


def test_too_few_and_too_many_frames_per_slot_are_reported():
    few, many = rate_note(1.0, 0.5), rate_note(2.0, 1.0, "rate:")
    assert few is not None
    assert few.startswith("The model's slots are 0.5 s, so at 1 frame a second only 50% of them have one;")
    assert "use --rate 2, unless" in few
    assert many is not None
    assert "at 2 frames a second each has 2; use rate: 1, unless" in many


@pytest.mark.parametrize("resolution", [0.1, 0.3, 0.5, 0.7, 1.0, 3.0, 300.0])
def test_the_rate_that_is_named_fits(resolution):
    assert rate_note(rate_that_fits(resolution), resolution) is None
