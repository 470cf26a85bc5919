"""Draw single things at sub-pixel positions: ball, box, cone, ring, hand and the toy mouse.

All functions draw in place into (H, W, 3) uint8 RGB images; positions and sizes are float pixels; `x` and `y`
are the point where the thing stands. Nothing here depends on the size of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

Colour = tuple[float, float, float]

_SHIFT = 4  # cv2 takes fixed-point coordinates with this many fractional bits
_ONE = 1 << _SHIFT


def _fixed(*values: float) -> tuple[int, ...]:
    return tuple(round(value * _ONE) for value in values)


def disc(
    image: np.ndarray, x: float, y: float, rx: float, ry: float, colour: Colour, angle: float = 0.0
) -> None:
    """A filled ellipse with half axes `rx` and `ry`, turned by `angle` degrees."""
    axes = _fixed(max(rx, 0.3), max(ry, 0.3))
    cv2.ellipse(image, _fixed(x, y), axes, angle, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def polygon(image: np.ndarray, points: list[tuple[float, float]], colour: Colour) -> None:
    """A filled convex polygon."""
    corners = np.array([_fixed(*point) for point in points], np.int32)
    cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA, _SHIFT)


def stroke(
    image: np.ndarray, start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour
) -> None:
    """A straight line with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(float(np.hypot(dx, dy)), 1e-6)
    nx, ny = -dy / length * width / 2, dx / length * width / 2
    corners = [
        (start[0] + nx, start[1] + ny),
        (end[0] + nx, end[1] + ny),
        (end[0] - nx, end[1] - ny),
        (start[0] - nx, start[1] - ny),
    ]
    polygon(image, corners, colour)
    for x, y in (start, end):
        disc(image, x, y, width / 2, width / 2, colour)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker for a factor below 1, towards white above 1."""
    if factor <= 1:
        red, green, blue = (channel * factor for channel in colour)
    else:
        red, green, blue = (channel + (255 - channel) * (factor - 1) for channel in colour)
    return red, green, blue


def shadow(image: np.ndarray, x: float, y: float, rx: float, ry: float, strength: float) -> None:
    """A soft dark ellipse; `strength` 0 to 1."""
    height, width = image.shape[:2]
    left, right = max(0, int(x - rx) - 1), min(width, int(x + rx) + 2)
    top, bottom = max(0, int(y - ry) - 1), min(height, int(y + ry) + 2)
    if left >= right or top >= bottom:
        return
    across = ((np.arange(left, right, dtype=np.float32) - x) / rx) ** 2
    down = ((np.arange(top, bottom, dtype=np.float32) - y) / ry) ** 2
    fade = 1 - strength * np.clip(1.2 * (1 - (down[:, None] + across[None, :])), 0, 1)
    region = image[top:bottom, left:right]
    np.multiply(region, fade[..., None], out=region, casting="unsafe")


def ball(image: np.ndarray, x: float, y: float, size: float, colour: Colour, turn: float) -> None:
    """A glossy ball of diameter `size`; `turn` (radians) moves its stripe as it rolls."""
    radius = size / 2
    y -= radius
    disc(image, x, y, radius, radius, shade(colour, 0.72))
    for step in range(1, 6):
        inner = radius * (1 - 0.13 * step)
        offset = radius * 0.055 * step
        disc(image, x - offset, y - offset, inner, inner, shade(colour, 0.72 + 0.09 * step))
    stripe = radius * 0.62
    disc(
        image,
        x + stripe * np.cos(turn),
        y + stripe * np.sin(turn),
        radius * 0.12,
        radius * 0.12,
        shade(colour, 0.6),
    )
    disc(image, x - radius * 0.34, y - radius * 0.4, radius * 0.2, radius * 0.15, shade(colour, 1.75), -35)


def box(image: np.ndarray, x: float, y: float, size: float, colour: Colour) -> None:
    """A cube seen a little from above and from the left."""
    half, rise, shear = size * 0.42, size * 0.2, size * 0.14
    top = y - size * 0.8
    left, right = x - half - shear / 2, x + half - shear / 2
    polygon(image, [(left, y), (right, y), (right, top), (left, top)], colour)
    polygon(
        image,
        [(left, top), (right, top), (right + shear, top - rise), (left + shear, top - rise)],
        shade(colour, 1.4),
    )
    polygon(
        image,
        [(right, y), (right + shear, y - rise), (right + shear, top - rise), (right, top)],
        shade(colour, 0.62),
    )


def cone(image: np.ndarray, x: float, y: float, size: float, colour: Colour) -> None:
    """A cone with a round foot, as tall as `size` and a quarter."""
    half, foot, tip = size * 0.48, size * 0.13, y - size * 1.15
    disc(image, x, y - foot, half, foot, shade(colour, 0.75))
    polygon(image, [(x - half, y - foot), (x + half, y - foot), (x, tip)], shade(colour, 0.78))
    polygon(image, [(x - half, y - foot), (x + half * 0.25, y - foot * 0.1), (x, tip)], colour)
    polygon(
        image,
        [(x - half * 0.62, y - foot * 0.55), (x - half * 0.3, y - foot * 0.2), (x, tip)],
        shade(colour, 1.35),
    )


def ring(image: np.ndarray, x: float, y: float, size: float, colour: Colour) -> None:
    """A thick ring that stands upright; the background is seen through it."""
    radius = size * 0.39
    thick = size * 0.2
    y -= size / 2
    for width, factor, offset in ((thick, 0.7, 0.0), (thick * 0.7, 1.0, -0.02), (thick * 0.25, 1.45, -0.05)):
        centre = _fixed(x + offset * size, y + offset * size)
        thickness = max(1, round(width))
        cv2.ellipse(
            image,
            centre,
            _fixed(radius, radius),
            0,
            0,
            360,
            shade(colour, factor),
            thickness,
            cv2.LINE_AA,
            _SHIFT,
        )


def hand(
    image: np.ndarray, x: float, y: float, size: float, skin: Colour, sleeve: Colour, grip: float
) -> None:
    """An arm from the top edge with a hand whose fingertips are at (`x`, `y`).

    `grip` 0 is an open hand with spread fingers, 1 a hand closed around a thing below it.
    """
    palm_y = y - size * 0.62
    wrist = (x + size * 0.1, palm_y - size * 0.3)
    elbow = (x + size * 0.55, min(wrist[1], 0.0) - size * 1.6)
    stroke(image, elbow, wrist, size * 0.4, shade(skin, 0.9))
    cuff = tuple(w + (e - w) * 0.16 for w, e in zip(wrist, elbow, strict=True))
    stroke(image, elbow, (cuff[0], cuff[1]), size * 0.52, sleeve)
    for i, spread in enumerate((-0.3, -0.1, 0.1, 0.3)):
        root = (x + spread * size * 0.8, palm_y)
        bend = spread * (1.5 - 0.7 * grip)
        reach = size * (0.5 if i in (0, 3) else 0.58)
        stroke(image, root, (x + bend * size, palm_y + reach), size * 0.15, shade(skin, 0.86 + 0.05 * i))
    side = 1.0 - 0.35 * grip
    stroke(
        image,
        (x - size * 0.22, palm_y),
        (x - size * 0.62 * side, palm_y + size * 0.2),
        size * 0.17,
        shade(skin, 0.95),
    )
    disc(image, x, palm_y - size * 0.04, size * 0.34, size * 0.32, skin)


def mouse(image: np.ndarray, x: float, y: float, size: float, heading: float) -> None:
    """A small grey toy mouse; `heading` 1 runs right, -1 left."""
    grey = (92.0, 90.0, 88.0)
    stroke(
        image,
        (x - heading * size * 0.5, y - size * 0.2),
        (x - heading * size * 1.1, y - size * 0.4),
        size * 0.1,
        grey,
    )
    disc(image, x, y - size * 0.3, size * 0.6, size * 0.32, grey)
    disc(image, x + heading * size * 0.2, y - size * 0.6, size * 0.16, size * 0.18, shade(grey, 1.3))
