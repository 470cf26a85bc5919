"""The debug picture shows the window, the state and the query at any frame size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")
from stride_ros.nodes.debug_view import _ACTIVE, _INACTIVE, draw

SPAN = SimpleNamespace(span_id=3, start=2.0, end=9.0)


def update(labels: list[int], probabilities: list[float]) -> Any:
    return SimpleNamespace(
        labels=np.array(labels, np.uint8),
        probabilities=np.array(probabilities, np.float32),
        resolution=1.0,
        steps=3,
    )


def pixels(picture: np.ndarray, colour: tuple[int, int, int], rows: slice = slice(None)) -> int:
    return int((picture[rows] == colour).all(axis=-1).sum())


@pytest.mark.parametrize("shape", [(480, 640), (48, 64), (2160, 3840), (1000, 40), (40, 1000)])
def test_any_frame_size_gives_a_readable_picture(shape: tuple[int, int]) -> None:
    picture = draw(np.zeros((*shape, 3), np.uint8), update([0, 1], [0.1, 0.9]), "What?", SPAN, 0.1)
    assert picture.dtype == np.uint8
    assert 480 <= picture.shape[1] <= 960
    assert picture.shape[0] >= 144


def test_frame_itself_is_not_changed() -> None:
    frame = np.full((480, 640, 3), 90, np.uint8)
    picture = draw(frame, update([0] * 8, [0.2] * 8), "What?", None, 0.1)
    assert (frame == 90).all()
    assert (picture[100:300] == 90).all(), "the middle of the picture is free"


def test_bars_follow_probability_and_label() -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    strip = slice(370, 450)
    low = draw(frame, update([1, 0, 255, 255], [0.5, 0.5, 0.0, 0.0]), "", None, 0.1)
    high = draw(frame, update([1, 0, 255, 255], [1.0, 0.5, 0.0, 0.0]), "", None, 0.1)
    assert pixels(high, _ACTIVE, strip) > 1.6 * pixels(low, _ACTIVE, strip)
    assert pixels(high, _INACTIVE, strip) == pixels(low, _INACTIVE, strip) > 0


def test_open_span_is_marked_at_the_top() -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    decided = update([0] * 8, [0.2] * 8)
    assert pixels(draw(frame, decided, "What?", SPAN, 0.1), _ACTIVE, slice(0, 40)) > 500
    assert pixels(draw(frame, decided, "What?", None, 0.1), _ACTIVE, slice(0, 40)) == 0


@pytest.mark.parametrize("query", ["", "Où est le café ?", "何が起きましたか", "x" * 1000, "two\nlines"])
def test_any_query_can_be_drawn_and_leaves_the_badge_free(query: str) -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    plain = draw(frame, update([0], [0.1]), "", None, 0.1)
    picture = draw(frame, update([0], [0.1]), query, None, 0.1)
    assert np.array_equal(picture[:, 530:], plain[:, 530:])
