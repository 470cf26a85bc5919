"""A synthetic robot-camera video with exact ground truth: any frame at any time, at any size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from stride_ros.errors import ConfigError, TimeError
from stride_ros.world import props
from stride_ros.world.backdrop import TABLE_EDGE, draw_backdrop, unit_length
from stride_ros.world.story import (
    CARRY_SECONDS,
    SLIDE_SECONDS,
    SWITCH_SECONDS,
    TAKE_SECONDS,
    Hand,
    Visit,
    WorldConfig,
    WorldEvent,
    plan_story,
)
from stride_ros.world.vocabulary import COLOURS, all_queries

OBJECT_SIZE = 0.3  # of the unit length, at the front of the table
HELD_HEIGHT = 0.36  # how high a hand holds a thing, in unit lengths
_SKINS = ((232, 190, 160), (206, 156, 122), (150, 104, 76))
_SLEEVES = ((58, 62, 72), (44, 44, 48), (86, 84, 82))


USUAL = WorldConfig()


class World:
    """A table top seen by a robot's camera.

    `size` is (width, height) in pixels, `seconds` the length, `fps` the rate of recordings made from it
    (`frame` takes any time). The same arguments give the same pictures and events. Frames are drawn at `size`
    directly, so small ones for training cost little.
    """

    def __init__(
        self,
        seed: int = 0,
        seconds: float = 60.0,
        size: tuple[int, int] = (640, 480),
        fps: float = 10.0,
        config: WorldConfig = USUAL,
    ) -> None:
        if seed < 0 or not 1.0 <= seconds < float("inf") or not fps > 0 or min(size) < 16:
            raise ConfigError(
                f"A world of seed {seed}, {seconds} s, {size[0]}x{size[1]} at {fps} Hz is not possible;"
                " choose a seed of at least 0, at least 1 s, a rate above 0 and sides of at least 16 pixels."
            )
        self.seed, self.seconds, self.fps, self.config = seed, float(seconds), float(fps), config
        self.size = (int(size[0]), int(size[1]))
        self._story = plan_story(seed, self.seconds, config)
        rng = np.random.default_rng([0xCA, seed])
        self._scale = 2 if min(self.size) < 160 else 1  # draw small pictures larger: no jagged edges
        self._width, self._height = self.size[0] * self._scale, self.size[1] * self._scale
        self._unit = unit_length(self._width, self._height)
        self._backdrop = draw_backdrop(rng, self._width, self._height, config.clutter)
        self._skin = _SKINS[rng.integers(len(_SKINS))]
        self._sleeve = _SLEEVES[rng.integers(len(_SLEEVES))]
        self._light = _Light(rng, config.light, self._story.dark)
        self._shake = rng.uniform(0, 2 * np.pi, (3, 3))

    @property
    def events(self) -> tuple[WorldEvent, ...]:
        """Everything that happens, by start time; times in seconds."""
        return self._story.events

    @property
    def queries(self) -> tuple[str, ...]:
        """The queries with at least one event in this clip, most frequent first."""
        counts: dict[str, int] = {}
        for event in self.events:
            counts[event.query] = counts.get(event.query, 0) + 1
        return tuple(sorted(counts, key=lambda query: (-counts[query], query)))

    @property
    def negative_queries(self) -> tuple[str, ...]:
        """The queries that this kind of world can answer but that have no event in this clip."""
        config, present = self.config, set(self.queries)
        known = all_queries(config.colours, config.shapes, config.kinds)
        return tuple(query for query in known if query not in present)

    def events_for(self, query: str) -> tuple[WorldEvent, ...]:
        """The events that `query` asks for, by start time; empty for a query without any."""
        return tuple(event for event in self.events if event.query == query)

    def frame(self, t: float) -> np.ndarray:
        """The picture at `t` seconds, (height, width, 3) uint8 RGB. Raises TimeError outside the clip."""
        if not 0 <= t <= self.seconds:
            raise TimeError(f"The world has no frame at {t} s; use a time from 0 to {self.seconds:g} s.")
        image = self._backdrop.copy()
        self._draw_mice(image, t)
        self._draw_things(image, t)
        image = self._move_camera(image, t)
        if self._scale != 1:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        image = cv2.LUT(image, self._light.table(t))
        if self.config.noise:
            noise = _noise_sheet(*self.size)
            row, column = np.random.default_rng([self.seed, round(t * 1000)]).integers(0, 32, 2)
            sheet = noise[row : row + self.size[1], column : column + self.size[0]]
            if self.config.noise != 1:
                sheet = sheet * self.config.noise
            image = cv2.add(image, sheet, dtype=cv2.CV_8U)
        return np.asarray(image)

    # Positions

    def _project(self, u: float, v: float) -> tuple[float, float, float]:
        """Picture point of a place on the table, and the length of one unit there, in pixels."""
        x = self._width * (0.5 + 0.5 * u * (1.0 - 0.12 * v))
        y = self._height * (0.93 + (TABLE_EDGE + 0.04 - 0.93) * v)
        return x, y, self._unit * (1.0 - 0.2 * v)

    def _pose(self, visit: Visit, t: float) -> _Pose | None:
        """The pose of the object at `t`, None while it is outside the picture."""
        x, y, unit = self._project(visit.u, visit.v)
        lift = 0.0
        for way, since in ((visit.entry, t - visit.start), (visit.exit, visit.end - t)):
            if way == "there":
                if since < 0:
                    return None
            elif way in ("hand", "taken"):
                seconds = CARRY_SECONDS if way == "hand" else TAKE_SECONDS
                if since < -seconds:
                    return None
                lift += _smooth(-since / seconds) * (y / self._unit + 0.1)
            else:
                rest = _slide_rest(since / SLIDE_SECONDS)
                if way == "front":  # its middle crosses the lower edge of the picture when `since` is 0
                    y += (self._height + 0.5 * OBJECT_SIZE * unit - y) * rest
                else:  # its middle crosses the nearer side of the picture when `since` is 0
                    x += ((self._width if visit.u > 0 else 0.0) - x) * rest
        for held in visit.lifts:
            if held.start < t < held.end:
                lift += HELD_HEIGHT * _smooth((t - held.start) / 0.9) * _smooth((held.end - t) / 0.9)
                x += 0.02 * unit * np.sin(2.4 * (t - held.start)) * _smooth((t - held.start) / 0.9)
        home = x
        for touch in visit.contacts:
            near = _smooth(1 + (t - touch.start)) * _smooth(1 + (touch.end - t))
            if near > 0:
                other = self._story.visits[touch.neighbour]
                other_x, other_y, other_unit = self._project(other.u, other.v)
                reach = OBJECT_SIZE * (
                    _HALF_WIDTH[visit.shape] * unit + _HALF_WIDTH[other.shape] * other_unit
                )
                x += (other_x + (reach if other_x < x else -reach) - x) * near
                y += (other_y - y) * near
        return _Pose(x, y, unit, lift, turn=(x - home) / (0.5 * OBJECT_SIZE * unit))

    # Drawing

    def _draw_things(self, image: np.ndarray, t: float) -> None:
        poses = {
            i: pose
            for i, visit in enumerate(self._story.visits)
            if visit.start - 2.0 <= t <= visit.end + TAKE_SECONDS
            and (pose := self._pose(visit, t)) is not None
        }
        for i in sorted(poses, key=lambda i: poses[i].y):
            visit, pose = self._story.visits[i], poses[i]
            size = OBJECT_SIZE * pose.unit
            spread = 1.0 + pose.lift
            strength = 0.5 * max(0.0, 1 - pose.lift)
            props.shadow(
                image, pose.x + 0.1 * size, pose.y, 0.62 * size * spread, 0.2 * size * spread, strength
            )
        for i in sorted(poses, key=lambda i: poses[i].y):
            visit, pose = self._story.visits[i], poses[i]
            colour = COLOURS[visit.colour]
            size, y = OBJECT_SIZE * pose.unit, pose.y - pose.lift * self._unit
            if visit.shape == "ball":
                props.ball(image, pose.x, y, size, colour, pose.turn)
            else:
                {"box": props.box, "cone": props.cone, "ring": props.ring}[visit.shape](
                    image, pose.x, y, size, colour
                )
        for hand in self._story.hands:
            if hand.start - 1.0 <= t <= hand.end + 1.0:  # outside its times it is above the picture
                self._draw_hand(image, hand, t, poses.get(hand.visit) if hand.visit is not None else None)

    def _draw_hand(self, image: np.ndarray, hand: Hand, t: float, pose: _Pose | None) -> None:
        size = 0.26 * self._unit
        if hand.visit is None:
            rest = _reach(min(t - hand.start, hand.end - t) / CARRY_SECONDS)
            x, y, _ = self._project(hand.u + 0.12 * np.sin(2.1 * (t - hand.start)), 0.75)
            props.hand(image, x, y * rest, size, self._skin, self._sleeve, grip=0.0)
            return
        visit = self._story.visits[hand.visit]
        x, y, unit = self._project(visit.u, visit.v)
        top = y - OBJECT_SIZE * _HEIGHT[visit.shape] * unit + 0.3 * size
        release = 1.0  # how far the hand has reached the object
        if pose is not None and pose.lift > 0:
            x, top = (
                pose.x,
                pose.y - pose.lift * self._unit - OBJECT_SIZE * _HEIGHT[visit.shape] * unit + 0.3 * size,
            )
        else:
            release = _reach(min(t - hand.start, hand.end - t) / CARRY_SECONDS)
        props.hand(image, x, top * release, size, self._skin, self._sleeve, grip=1.0)

    def _draw_mice(self, image: np.ndarray, t: float) -> None:
        for start in self._story.mice:
            if start <= t <= start + 5.0:
                heading = 1.0 if int(start) % 2 else -1.0
                across = (t - start) / 5.0 * 2.4 - 1.2
                x, y, unit = self._project(heading * across, 0.97)
                props.mouse(image, x, y, 0.05 * unit, heading)

    def _move_camera(self, image: np.ndarray, t: float) -> np.ndarray:
        if not self.config.shake:
            return image
        rates = np.array([0.9, 2.3, 5.1])
        dx, dy, turn = (np.sin(rates * t + self._shake) * np.array([0.5, 0.3, 0.2])).sum(
            1
        ) * self.config.shake
        angle = np.deg2rad(0.35 * turn)
        cos, sin = np.cos(angle), np.sin(angle)
        cx, cy = self._width / 2, self._height / 2
        move_x, move_y = 0.004 * self._unit * dx, 0.004 * self._unit * dy
        matrix = np.array(
            [[cos, -sin, cx - cos * cx + sin * cy + move_x], [sin, cos, cy - sin * cx - cos * cy + move_y]]
        )
        size = (self._width, self._height)
        moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved)


@dataclass(frozen=True)
class _Pose:
    """An object's foot in the picture (pixels), unit length there, lift in unit lengths, roll in radians."""

    x: float
    y: float
    unit: float
    lift: float
    turn: float


_HALF_WIDTH = {"ball": 0.49, "box": 0.49, "cone": 0.47, "ring": 0.48}  # of the object's size
_HEIGHT = {"ball": 1.0, "box": 0.98, "cone": 1.15, "ring": 1.0}


class _Light:
    """Brightness and tint over time: slow drift, and off in the dark intervals."""

    def __init__(self, rng: np.random.Generator, drift: float, dark: tuple[tuple[float, float], ...]) -> None:
        self._phase = rng.uniform(0, 2 * np.pi, 3)
        self._period = rng.uniform(15, 50, 3)
        self._base = 1.0 + drift * rng.uniform(-0.1, 0.05)
        self._drift, self._dark = drift, dark

    def table(self, t: float) -> np.ndarray:
        """(1, 256, 3) uint8 lookup table from lit to seen channel values."""
        wave = np.sin(2 * np.pi * t / self._period + self._phase)
        gain = self._base + self._drift * 0.1 * wave[0]
        tint = 1.0 + self._drift * np.array([0.035 * wave[1], 0.012 * wave[2], -0.035 * wave[1]])
        off = max((_smooth(min(t - a, b - t) / SWITCH_SECONDS) for a, b in self._dark), default=0.0)
        channel_gain = gain * tint * (1 - off) + np.array([0.24, 0.27, 0.34]) * off
        values = np.arange(256, dtype=np.float64)[:, None] * channel_gain
        return np.asarray(np.clip(values, 0, 255).astype(np.uint8)[None])


def _smooth(x: float) -> float:
    """From 0 to 1 as x goes from 0 to 1, without a kink."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def _reach(x: float) -> float:
    """From 0 to 1, fast at first, so that a hand is in view at once."""
    x = min(max(x, 0.0), 1.0)
    return 1 - (1 - x) ** 2


def _slide_rest(x: float) -> float:
    """Remaining fraction of the way from the edge of the picture; above 1 before the edge is crossed."""
    return 1 - 2 * x if x < 0 else 1 - _reach(x)


@lru_cache(maxsize=8)
def _noise_sheet(width: int, height: int) -> np.ndarray:
    """Sensor noise in a sheet larger than the picture, so that a window in it can move between frames."""
    noise = np.random.default_rng(7).normal(0, 4.0, (height + 32, width + 32, 3))
    return np.rint(noise).astype(np.int16)
