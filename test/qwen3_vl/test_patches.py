"""Frames are brought to the model's size, and images that cannot be used are named."""

import numpy as np
import pytest

from stride_ros.errors import FrameError
from stride_ros.qwen3_vl import patches as frames


def test_a_vga_image_becomes_252_tokens():
    prepared = frames.prepare(np.zeros((480, 640, 3), np.uint8), 256)
    assert prepared.shape[0] * prepared.shape[1] // 32**2 == 252


def test_small_frames_are_not_enlarged():
    assert frames.prepare(np.zeros((40, 70, 3), np.uint8), 256).shape == (32, 64, 3)


def test_the_frame_is_the_sessions_own():
    image = np.zeros((64, 64, 3), np.uint8)
    prepared = frames.prepare(image, 256)
    image[:] = 255
    assert prepared.max() == 0


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((31, 64, 3), np.uint8), "64x31"),
        (np.zeros((0, 0, 3), np.uint8), "0x0"),
        (np.zeros((64, 64), np.uint8), "shape"),
        (np.zeros((64, 64, 4), np.uint8), "shape"),
        (np.zeros((64, 64, 3), np.float32), "float32"),
        (np.zeros((32, 32 * 300, 3), np.uint8), "no token grid"),
        ([[0, 0, 0]], "list"),
    ],
)
def test_an_unusable_image_is_refused_with_the_reason(image, reason):
    with pytest.raises(FrameError, match=reason):
        frames.prepare(image, 256)


def test_pixels_run_from_minus_one_to_one():
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    patches = frames.patches(black, white)
    assert patches.shape == (4, 3 * 2 * 16 * 16)
    assert set(np.unique(patches)) == {-1.0, 1.0}
