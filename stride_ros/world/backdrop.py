"""The room of a synthetic clip: wall, window, table, and neutral clutter, drawn once per clip."""

from __future__ import annotations

import cv2
import numpy as np

from stride_ros.world import props

TABLE_EDGE = 0.43  # height of the table's far edge in the picture, from the top

_TABLES = ((196, 188, 176), (120, 104, 92), (206, 208, 206), (112, 120, 126), (158, 166, 158))
_WALLS = ((186, 192, 198), (204, 200, 190), (160, 170, 178), (178, 186, 176))


def draw_backdrop(rng: np.random.Generator, width: int, height: int, clutter: bool) -> np.ndarray:
    """The empty room, (height, width, 3) uint8 RGB. Colours are muted, so that only objects are saturated."""
    unit = unit_length(width, height)
    image = np.empty((height, width, 3), np.uint8)
    edge = round(TABLE_EDGE * height)
    wall = np.array(_WALLS[rng.integers(len(_WALLS))], np.float32)
    table = np.array(_TABLES[rng.integers(len(_TABLES))], np.float32)
    fall = np.linspace(1.04, 0.86, max(edge, 1), dtype=np.float32)
    image[:edge] = np.clip(wall * fall[:, None], 0, 255)[:, None, :]
    _draw_window(image, rng, edge)
    _draw_table(image, rng, table, edge)
    if clutter:
        _draw_clutter(image, rng, edge, unit)
    return image


def unit_length(width: int, height: int) -> float:
    """Pixels per unit of length: the picture's height, or less if the picture is narrow."""
    return min(height, 0.75 * width)


def _draw_window(image: np.ndarray, rng: np.random.Generator, edge: int) -> None:
    width = image.shape[1]
    x = float(rng.uniform(0.05, 0.6)) * width
    frame, sky, hill = (228, 228, 224), (206, 220, 230), (176, 188, 180)
    corners = (x, 0.0, x + 0.34 * width, 0.72 * edge)

    def pane(a: float, b: float, c: float, d: float, colour: tuple[int, int, int]) -> None:
        props.polygon(image, [(a, b), (c, b), (c, d), (a, d)], colour)

    border = 0.012 * width
    pane(corners[0] - border, -border, corners[2] + border, corners[3] + border, frame)
    pane(*corners, sky)
    pane(corners[0], corners[3] * 0.75, corners[2], corners[3], hill)
    middle = (corners[0] + corners[2]) / 2
    pane(middle - border / 2, 0, middle + border / 2, corners[3], frame)


def _draw_table(image: np.ndarray, rng: np.random.Generator, colour: np.ndarray, edge: int) -> None:
    height, width = image.shape[:2]
    rows, columns = height - edge, width
    coarse = rng.normal(0, 1, (24, 6)).astype(np.float32)
    grain = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    rise = np.linspace(0.88, 1.06, rows, dtype=np.float32)[:, None]
    image[edge:] = np.clip(colour * (rise * (1 + 0.025 * grain))[..., None], 0, 255)
    lip = max(1, round(0.012 * height))
    image[edge : edge + lip] = np.clip(colour * 0.66, 0, 255)


def _draw_clutter(image: np.ndarray, rng: np.random.Generator, edge: int, unit: float) -> None:
    """Grey and beige things along the back of the table: a mug, books, a plant in a pot."""
    width = image.shape[1]
    base = edge + 0.045 * unit
    places = rng.permutation(3)
    for place, thing in zip((0.09, 0.5, 0.91), places, strict=True):
        x = (place + float(rng.uniform(-0.05, 0.05))) * width
        if rng.random() < 0.3:
            continue
        props.shadow(image, x, base, 0.1 * unit, 0.03 * unit, 0.3)
        if thing == 0:  # mug
            cv2.circle(
                image,
                (round(x + 0.045 * unit), round(base - 0.05 * unit)),
                max(1, round(0.025 * unit)),
                (150, 148, 144),
                max(1, round(0.012 * unit)),
                cv2.LINE_AA,
            )
            props.polygon(
                image,
                [
                    (x - 0.045 * unit, base),
                    (x + 0.045 * unit, base),
                    (x + 0.05 * unit, base - 0.1 * unit),
                    (x - 0.05 * unit, base - 0.1 * unit),
                ],
                (214, 212, 206),
            )
            props.disc(image, x, base - 0.1 * unit, 0.05 * unit, 0.014 * unit, (110, 98, 90))
        elif thing == 1:  # books
            for i, grey in enumerate((118, 172, 92)):
                y, half = base - i * 0.03 * unit, (0.1 - 0.012 * i) * unit
                props.polygon(
                    image,
                    [
                        (x - half, y),
                        (x + half, y),
                        (x + half, y - 0.028 * unit),
                        (x - half, y - 0.028 * unit),
                    ],
                    (grey, grey - 6, grey - 14),
                )
        else:  # plant
            for angle in rng.uniform(-1.1, 1.1, 7):
                tip = (x + np.sin(angle) * 0.09 * unit, base - (0.09 + np.cos(angle) * 0.09) * unit)
                props.stroke(image, (x, base - 0.07 * unit), tip, 0.018 * unit, (106, 122, 98))
            props.polygon(
                image,
                [
                    (x - 0.032 * unit, base),
                    (x + 0.032 * unit, base),
                    (x + 0.045 * unit, base - 0.08 * unit),
                    (x - 0.045 * unit, base - 0.08 * unit),
                ],
                (148, 128, 112),
            )
