"""Turn the nodes' output, with stamps, into the record of a run, in seconds from the first frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from stride_ros.runs.record import OFFSET, RETRACTED, QueryRun, Run, Said, Span, thumbnail

ROW = 12  # pictures along the timeline of a long stream
EVERY = 60  # pictures of a short stream, to read the times of events from
SHORT = 20.0  # s
_RECENT = 32  # frames kept for onsets that are still to come

_STATES = {2: OFFSET, 3: RETRACTED}  # of ActivationSpan


class RunRecorder:
    """Collects frames, decisions, spans and answers; stamps are in ns, images (H, W, 3) uint8 RGB.

    `begin`: the time of the first frame (s), if a recording is not replayed from its beginning; set it before
    that frame.
    """

    def __init__(self, queries: Sequence[QueryRun]) -> None:
        self.begin = 0.0
        self.queries = {query.query: query for query in queries}
        self.newest: int | None = None  # stamp of the newest frame
        self._origin: int | None = None
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bare: dict[int, list[Span]] = {}  # spans without a thumbnail by the stamp of their frame
        self._strip: list[tuple[float, bytes]] = []
        self._strip_step, self._frames = 1, 0

    def seconds(self, stamp: int) -> float:
        """Time of a stamp in s."""
        return (stamp - (stamp - round(self.begin * 1e9) if self._origin is None else self._origin)) / 1e9

    def duration(self) -> float:
        """Time (s) from the first frame to the newest; 0 before the first frame."""
        return 0.0 if self.newest is None else self.seconds(self.newest) - self.begin

    def count_on(self, stamp: int, time: int) -> None:
        """Continue after the clock was set: `stamp` now corresponds to `time` (ns) from the first frame."""
        self._origin, self.newest = stamp - time - round(self.begin * 1e9), stamp
        self._recent.clear()

    def frame(self, stamp: int, image: np.ndarray) -> None:
        """Add a frame."""
        self._begin(stamp)
        self.newest = stamp if self.newest is None else max(self.newest, stamp)
        self._recent[stamp] = image
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        for span in self._bare.pop(stamp, ()):
            span.thumbnail = thumbnail(image)
        if self._frames % self._strip_step == 0:
            self._strip.append((self.seconds(stamp), thumbnail(image, 160)))
            if len(self._strip) > EVERY:  # thin out, since the stream's length is unknown
                self._strip = self._strip[::2]
                self._strip_step *= 2
        self._frames += 1

    def decision(
        self,
        query: str,
        stamp: int,
        labels: np.ndarray,
        probabilities: np.ndarray,
        resolution: float,
        seconds: float,
    ) -> None:
        """Add the decision on the window that ends at `stamp`, which took `seconds`."""
        self._begin(stamp)
        self.queries[query].decided(self.seconds(stamp), labels, probabilities, resolution, seconds)

    def span(
        self,
        query: str,
        span_id: int,
        state: int,
        stamp: int,
        start: int,
        end: int,
        confidence: float,
        latency: float | None = None,
    ) -> Span | None:
        """Add or change a span (`state` of ActivationSpan); return None for an unknown one."""
        if state == 0:
            span = Span(span_id, 0.0, 0.0, self.seconds(stamp), confidence, latency=latency)
            self.queries[query].spans.append(span)
            if stamp in self._recent:
                span.thumbnail = thumbnail(self._recent[stamp])
            else:
                self._bare.setdefault(stamp, []).append(span)
        else:
            known = self.find(query, span_id)
            if known is None:
                return None
            span = known
        # A recorder that missed the first frames counts from a later frame.
        first = self.begin
        span.start, span.end = max(self.seconds(start), first), max(self.seconds(end), first)
        span.confidence = confidence
        span.state = _STATES.get(state, span.state)
        return span

    def answer(self, query: str, span_id: int, said: Said) -> Span | None:
        """Add the final answer to an onset; return None for an unknown span."""
        span = self.find(query, span_id)
        if span is not None:
            span.said = said
        return span

    def find(self, query: str, span_id: int) -> Span | None:
        """The span of a query with this id, or None."""
        return next((span for span in reversed(self.queries[query].spans) if span.id == span_id), None)

    def run(self, name: str, seconds: float = 0.0) -> Run:
        """The record so far; `seconds`: the length of what was watched, where it goes on after that."""
        length = max(self.duration(), seconds)
        run = Run(name, length, list(self.queries.values()), begin=self.begin)
        run.strip = self._strip[:: 1 if self.duration() <= SHORT else -(-len(self._strip) // ROW)]
        return run

    def _begin(self, stamp: int) -> None:
        if self._origin is None:
            self._origin = stamp - round(self.begin * 1e9)
