"""Settings of the activation stage, checked on construction: a bad value fails early and by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from stride_ros.errors import ConfigError

SELECTIONS = ("topk", "pool")
SPAN_MODES = ("hull", "runs")
ODD_FRAMES = ("repeat", "wait")
POSITION_SCHEMES = ("mrope", "flat")

# Settings that shape the cached prompt and its passes; they cannot change while a stream is running.
STRUCTURAL = ("max_frames", "drop_frames", "odd_frame", "position_scheme", "frame_max_tokens", "cuda_graphs")


def _require(condition: bool, name: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{name} is {value!r}; {remedy}.")


def _require_number(name: str, value: object, low: float, high: float = math.inf) -> None:
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    limits = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
    _require(ok, name, value, f"use a number {limits}")


def _require_count(name: str, value: object, low: int) -> None:
    ok = isinstance(value, int) and not isinstance(value, bool) and value >= low
    _require(ok, name, value, f"use a whole number of at least {low}")


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _require(value in choices, name, value, f"use one of {', '.join(choices)}")


class _Unset(int):
    """A number that was not given: it follows other settings, also in a `dataclasses.replace` copy."""


_DROP_FRAMES = _Unset(64)  # half of max_frames


@dataclass(frozen=True)
class TriggerConfig:
    """When an open span becomes an onset, the event that a robot acts on.

    min_active_seconds: consecutive active time the span needs (s); gamma in arXiv 2603.27593.
    min_confidence: mean P(active) over its slots that the span needs, 0 to 1.
    """

    min_active_seconds: float = 1.0
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        _require_number("trigger.min_active_seconds", self.min_active_seconds, 0.0)
        _require_number("trigger.min_confidence", self.min_confidence, 0.0, 1.0)


@dataclass(frozen=True)
class ActivationConfig:
    """How a session denoises its window, forms spans and keeps its context.

    Raises ConfigError on a bad value.

    unmasking_steps: denoising steps over a fresh window. confidence_threshold: c; a slot keeps its last label
    when |P(active) - label| < 1 - c; None: never. selection: slots that a step unmasks: `topk` the most
    confident, `pool` drawn from twice as many. seed: of the draws of `pool`. span_mode: `hull` one span from
    the first to the last active slot, `runs` one per run of active slots. max_gap: runs closer than this are
    bridged (s, `runs` only). margin_seconds: a span that ended this long before the newest frame is over (s).
    multi_event: continue after a span is over; False stops the session there, until it is reset.
    max_triggers: maximum number of further denoisings per decision; one follows each completed span.
    max_frames: frames in context. drop_frames: how many of the oldest frames leave when it is full, rounded
    up to whole pairs; by default half of `max_frames` (in whole pairs, at least 2 frames). decide_every:
    frames per decision. odd_frame: without a complete pair `repeat` the last frame, or `wait` for its
    partner. position_scheme: `mrope` as the model is trained, `flat` for weights trained with plain token
    indices. frame_max_tokens: maximum number of prompt tokens for a frame pair; a checkpoint's own limit
    counts too. cuda_graphs: on a CUDA device, capture slot passes as CUDA graphs; no effect elsewhere.
    """

    unmasking_steps: int = 8
    confidence_threshold: float | None = 0.75
    selection: str = "topk"
    seed: int = 0
    span_mode: str = "hull"
    max_gap: float = 1.0
    margin_seconds: float = 1.0
    multi_event: bool = True
    max_triggers: int = 50
    max_frames: int = 128
    drop_frames: int = _DROP_FRAMES
    decide_every: int = 1
    odd_frame: str = "repeat"
    position_scheme: str = "mrope"
    frame_max_tokens: int = 256
    cuda_graphs: bool = True
    trigger: TriggerConfig = TriggerConfig()

    def __post_init__(self) -> None:
        _require_count("unmasking_steps", self.unmasking_steps, 1)
        if self.confidence_threshold is not None:
            _require_number("confidence_threshold", self.confidence_threshold, 0.0, 1.0)
        _require_choice("selection", self.selection, SELECTIONS)
        _require_count("seed", self.seed, 0)
        _require_choice("span_mode", self.span_mode, SPAN_MODES)
        _require_number("max_gap", self.max_gap, 0.0)
        _require_number("margin_seconds", self.margin_seconds, 0.0)
        _require_count("max_triggers", self.max_triggers, 1)
        _require_count("max_frames", self.max_frames, 2)
        if isinstance(self.drop_frames, _Unset):
            object.__setattr__(self, "drop_frames", _Unset(max(2, self.max_frames // 4 * 2)))
        _require_count("drop_frames", self.drop_frames, 1)
        _require(
            self.dropped_per_shift <= self.max_frames,
            "drop_frames",
            self.drop_frames,
            f"drop at most max_frames ({self.max_frames}), counted in whole pairs, or leave it unset",
        )
        _require_count("decide_every", self.decide_every, 1)
        _require_choice("odd_frame", self.odd_frame, ODD_FRAMES)
        _require_choice("position_scheme", self.position_scheme, POSITION_SCHEMES)
        _require_count("frame_max_tokens", self.frame_max_tokens, 1)
        _require(isinstance(self.cuda_graphs, bool), "cuda_graphs", self.cuda_graphs, "use true or false")
        _require(isinstance(self.trigger, TriggerConfig), "trigger", self.trigger, "pass a TriggerConfig")

    @property
    def dropped_per_shift(self) -> int:
        """Number of frames that leave the context at a shift: drop_frames rounded up to whole pairs."""
        return self.drop_frames + self.drop_frames % 2

    def live_changes(self, other: ActivationConfig) -> dict[str, Any]:
        """The fields of `other` that differ; ConfigError if one cannot change while a stream is running."""
        changed = {f.name: getattr(other, f.name) for f in fields(self)}
        changed = {name: value for name, value in changed.items() if value != getattr(self, name)}
        for name in STRUCTURAL:
            if name in changed:
                raise ConfigError(
                    f"{name} cannot change while a stream is running; make a new session with it."
                )
        return changed
