"""The debug picture: the frame, the query, the state, and P(active) over the window."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import cv2
import numpy as np

from stride_ros.imaging.resize import resize
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from stride_ros.activation.session import ActivationUpdate
    from stride_ros.activation.spans import SpanEvent

# Minimum and maximum width of the picture (px): text stays readable, a 4K camera stays cheap.
_WIDTHS = (480, 960)
_TOP, _BOTTOM, _MARGIN = 40, 104, 12  # px
_FONT = cv2.FONT_HERSHEY_SIMPLEX

# RGB
_PANEL = (16, 20, 28)
_WHITE = (240, 243, 248)
_GREY = (150, 160, 175)
_LINE = (70, 80, 96)
_ACTIVE = (255, 168, 38)
_INACTIVE = (92, 130, 176)
_UNSEEN = (44, 51, 64)
_INK = (24, 18, 6)


def draw(
    rgb: np.ndarray, update: ActivationUpdate, query: str, open_span: SpanEvent | None, latency: float
) -> np.ndarray:
    """Draw one decision; return the picture (height, width, 3) uint8 RGB.

    `rgb`: the newest frame (height, width, 3) uint8. `open_span`: the open published span. `latency`: s since
    the frame's arrival.
    """
    picture = _fit(rgb)
    height, width = picture.shape[:2]
    _shade(picture, 0, _TOP)
    _shade(picture, height - _BOTTOM, height)
    badge = _badge(picture, open_span)
    _text(picture, _shorten(query, badge - 2 * _MARGIN, 0.52), (_MARGIN, 26), 0.52, _WHITE)
    _strip(picture, update, (_MARGIN, height - _BOTTOM + 12, width - _MARGIN, height - 40))
    _footer(picture, update, latency)
    return picture


def _fit(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    wanted = min(max(width, _WIDTHS[0]), _WIDTHS[1])
    if wanted == width and height >= _TOP + _BOTTOM:
        return np.array(rgb, order="C")
    size = (wanted, max(round(height * wanted / width), _TOP + _BOTTOM))
    return resize(rgb, size)


def _shade(picture: np.ndarray, top: int, bottom: int) -> None:
    band = picture[top:bottom].astype(np.uint16)
    picture[top:bottom] = (band * 26 + np.array(_PANEL, np.uint16) * 74) // 100


def _badge(picture: np.ndarray, open_span: SpanEvent | None) -> int:
    """Draw the state at the top right; return its left edge."""
    if open_span is None:
        label, ink, paper = "WATCHING", _GREY, _UNSEEN
    else:
        seconds = max(open_span.end - open_span.start, 0.0)
        label, ink, paper = f"ACTIVE #{open_span.span_id}  {seconds:.0f} s", _INK, _ACTIVE
    (text_width, _), _ = cv2.getTextSize(label, _FONT, 0.5, 1)
    right = picture.shape[1] - _MARGIN
    left: int = right - text_width - 16
    cv2.rectangle(picture, (left, 8), (right, _TOP - 8), paper, cv2.FILLED)
    _text(picture, label, (left + 8, 25), 0.5, ink)
    return left


def _strip(picture: np.ndarray, update: ActivationUpdate, box: tuple[int, int, int, int]) -> None:
    """Draw one bar for each slot, oldest on the left: its height is P(active), its colour the label."""
    left, top, right, bottom = box
    slots = len(update.labels)
    edges = np.linspace(left, right, slots + 1).round().astype(int)
    gap = 1 if (right - left) / slots >= 4 else 0
    for i, (label, probability) in enumerate(zip(update.labels, update.probabilities, strict=True)):
        x0, x1 = int(edges[i]), max(int(edges[i + 1]) - 1 - gap, int(edges[i]))
        if label == 255:
            cv2.rectangle(picture, (x0, bottom - 2), (x1, bottom), _UNSEEN, cv2.FILLED)
            continue
        y = bottom - max(2, round(float(probability) * (bottom - top)))
        cv2.rectangle(picture, (x0, y), (x1, bottom), _ACTIVE if label == 1 else _INACTIVE, cv2.FILLED)
    for level in (0.5, 1.0):
        y = bottom - round(level * (bottom - top))
        cv2.line(picture, (left, y), (right, y), _LINE, 1)
    cv2.line(picture, (left, bottom + 1), (right, bottom + 1), _GREY, 1)


def _footer(picture: np.ndarray, update: ActivationUpdate, latency: float) -> None:
    height, width = picture.shape[:2]
    past = f"-{len(update.labels) * update.resolution:g} s"
    newest = f"P(active) {float(update.probabilities[-1]):.2f}"
    passes = counted(update.steps, "pass", "passes")
    work = f"{newest}   {passes}   latency {1e3 * latency:.0f} ms"
    baseline = height - 14
    _text(picture, past, (_MARGIN, baseline), 0.45, _GREY)
    for text, right in (("now", width - _MARGIN), (work, width - _MARGIN - 56)):
        (text_width, _), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
        _text(picture, text, (right - text_width, baseline), 0.45, _WHITE if text is work else _GREY)


def _shorten(text: str, width: int, scale: float) -> str:
    """Return the text in ASCII, as older OpenCV fonts need it, cut to `width` px."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = " ".join(plain.split()).encode("ascii", "replace").decode()
    if cv2.getTextSize(text, _FONT, scale, 1)[0][0] <= width:
        return text
    while text and cv2.getTextSize(text + "...", _FONT, scale, 1)[0][0] > width:
        text = text[:-1]
    return text.rstrip() + "..."


def _text(
    picture: np.ndarray, text: str, origin: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, origin, _FONT, scale, colour, 1, cv2.LINE_AA)
