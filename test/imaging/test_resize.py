"""Resizing: one place for nodes, sources, reports and responders."""

from __future__ import annotations

import numpy as np

from stride_ros.imaging.resize import resize, shrink


def test_a_picture_of_the_size_is_returned_as_it_is() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    assert resize(image, (200, 100)) is image
    assert resize(image, (50, 20)).shape == (20, 50, 3)
    assert resize(image, (300, 20)).shape == (20, 300, 3)


def test_shrinking_averages_so_that_thin_lines_do_not_vanish() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::8] = 255
    assert np.ptp(resize(lines, (8, 8))) <= 1
    assert abs(int(resize(lines, (8, 8))[0, 0, 0]) - 255 / 8) <= 1


def test_shrinking_keeps_the_shape_of_the_picture_and_leaves_small_ones_alone() -> None:
    small = np.zeros((100, 200, 3), np.uint8)
    assert shrink(small, 200) is small
    assert shrink(np.zeros((100, 400, 3), np.uint8), 200).shape == (50, 200, 3)
    assert shrink(np.zeros((4000, 1, 3), np.uint8), 200).shape == (200, 1, 3)
