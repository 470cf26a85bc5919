"""What a session that begins late says alone: it is fed a camera's frames, and first asked at a later one."""

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
    """Number of the frame that is the oldest in context after so many, 1 s apart."""
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
    """Decisions of a session on the frames from number `begin` on, at those of these numbers.

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
    """What a goal for an ONSET ends with that looks back to `since` (s), in its newest state of then.

    Of the first decision the last span that is open or began since then, else the next one that begins.
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
