"""The responder of a replay: a Responder that answers inline to what the activation stage decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stride_ros.response.backend import ResponseBackend
from stride_ros.response.commentary import Commentary, SpanReport, SpanState
from stride_ros.response.config import BackendConfig, ResponseConfig
from stride_ros.response.responder import Responder
from stride_ros.runs.record import STATUSES, Said

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stride_ros.activation.stamped_stream import StampedEvent


def load_speaker(config: BackendConfig) -> ResponseBackend:
    """Load a backend for replays.

    It is greedy unless its temperature is set, so that a recording gives the same text in every run. Raises
    ConfigError, BackendError.
    """
    return (replace(config, temperature=0.0) if config.temperature < 0 else config).load()


class ReplayResponder:
    """Answers as the responder node would about the same frames and spans, with the same settings.

    Nothing waits and deadlines do not apply: each event is answered before the next one.
    """

    def __init__(self, backend: ResponseBackend, config: ResponseConfig) -> None:
        """`backend`: from `load_speaker`; several recordings may share it."""
        self._backend = backend
        self._told: list[Commentary] = []
        self._responder = Responder(self._backend, config, self, inline=True)
        self.name = self._backend.name

    def frame(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Take a sampled frame (H, W, 3) uint8 RGB, `stamp` in ns; call this before its spans."""
        self._responder.frame(image, stamp)

    def span(self, event: StampedEvent, stamp: int, frame_id: str = "") -> list[Commentary]:
        """Take a change of a span at the frame with this `stamp` (ns); return new commentary, oldest first.

        Call this for every event of a span, not only its onset.
        """
        self._responder.span(
            SpanReport(
                state=SpanState(int(event.event.state)),
                span_id=event.event.span_id,
                query=event.event.query,
                watch=event.watch,
                start=event.start_ns,
                end=event.end_ns,
                stamp=stamp,
                onset=event.onset_ns,
                frame_id=frame_id,
            )
        )
        return self._taken()

    def end(self) -> list[Commentary]:
        """End the recording; return the final commentary on events that did not end."""
        self._responder.stop("The recording ended before the event did.")
        return self._taken()

    def close(self) -> None:
        """Free the model."""
        self._responder.close("The replay is over.")
        self._backend.close()

    def commentary(self, commentary: Commentary) -> None:
        """Take commentary from the Responder; partial texts depend on the clock and are left out."""
        if commentary.ended:
            self._told.append(commentary)

    def _taken(self) -> list[Commentary]:
        told, self._told = self._told, []
        return told


def said(commentary: Commentary) -> Said:
    """A final commentary in the form of the record of a run."""
    return Said(
        commentary.text,
        commentary.model,
        STATUSES[commentary.status],
        commentary.error,
        commentary.latency,
        commentary.frame_stamps,
    )
