"""The decisions of a session alone that gets a camera's frames and first decides at a later one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.activation.spans import ENDS, SpanEvent, SpanState
from stride_ros.activation.watch import ActivationUpdate

NEVER = 10**9


def first_in_context(frames: int, config: ActivationConfig) -> int:
    """Number of the oldest frame in context after `count` frames, 1 s apart."""
    context = Context(config.max_frames, config.dropped_per_shift)
    for second in range(frames):
        context.add(float(second))
    return context.start


def fresh_decisions(
    model: ActivationModel,
    query: str,
    config: ActivationConfig,
    picture: Callable[[int], np.ndarray],
    begin: int,
    asked: Sequence[int],
) -> list[ActivationUpdate]:
    """Decisions of a session on the frames from number `begin`, at the frames `asked`.

    picture(number): the frame, (H, W, 3) uint8 RGB; they are 1 s apart. asked: consecutive numbers.
    """
    session = ActivationSession(model, query, dataclasses.replace(config, decide_every=NEVER))
    updates = []
    for number in range(begin, asked[-1] + 1):
        if number == asked[0]:
            session.update_config(config)
        update = session.push(picture(number), float(number))
        assert (update is None) == (number < asked[0])
        if update is not None:
            updates.append(update)
    return updates


def awaited(updates: Sequence[ActivationUpdate], since: float) -> SpanEvent | None:
    """The span with which an ONSET goal that looks back to `since` (s) ends, in its state at that time.

    It is the last span of the first decision that is open or began since then, otherwise the next one.
    """
    for number, update in enumerate(updates):
        newest = {event.span_id: event for event in update.events if event.state is not SpanState.RETRACTED}
        begun = {event.span_id for event in update.events if event.state is SpanState.ONSET}
        found = [
            event
            for event in newest.values()
            if event.span_id in begun
            and (number or event.state not in ENDS or max(0.0, event.start) >= since)
        ]
        if found:
            return found[-1]
    return None
