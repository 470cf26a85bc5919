"""The responder of a replay: a Responder that answers inline, told what the activation stage decides."""

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
    """A backend as replays use it: greedy unless its temperature is set, so that a recording gives the same
    words on every run. Raises ConfigError, BackendError.
    """
    return (replace(config, temperature=0.0) if config.temperature < 0 else config).load()


class ReplayResponder:
    """Says what the responder node would say about the same frames and spans, with the same settings.

    Nothing waits and no deadline counts: each event is answered before the next one.
    """

    def __init__(self, backend: ResponseBackend, config: ResponseConfig) -> None:
        """`backend`: from `load_speaker`; several recordings may share it."""
        self._backend = backend
        self._told: list[Commentary] = []
        self._responder = Responder(self._backend, config, self, inline=True)
        self.name = self._backend.name

    def frame(self, image: NDArray[np.uint8], stamp: int) -> None:
        """A frame was sampled: (H, W, 3) uint8 RGB, `stamp` in ns. Call it before the spans decided on it."""
        self._responder.frame(image, stamp)

    def span(self, event: StampedEvent, stamp: int, frame_id: str = "") -> list[Commentary]:
        """A span began, changed or ended at the frame with this `stamp` (ns): what is said, oldest first.

        Every event of a span counts, not only its onset.
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
        """The recording is over: the final words about events whose end was not told."""
        self._responder.stop("The recording ended before the event did.")
        return self._taken()

    def close(self) -> None:
        """Free the model."""
        self._responder.close("The replay is over.")
        self._backend.close()

    def commentary(self, commentary: Commentary) -> None:
        """The sink of the Responder: partial texts depend on the clock and are left out."""
        if commentary.ended:
            self._told.append(commentary)

    def _taken(self) -> list[Commentary]:
        told, self._told = self._told, []
        return told


def said(commentary: Commentary) -> Said:
    """A final commentary as the record of a run has it."""
    return Said(
        commentary.text,
        commentary.model,
        STATUSES[commentary.status],
        commentary.error,
        commentary.latency,
        commentary.frame_stamps,
    )
