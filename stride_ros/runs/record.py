"""The record of one run over a stream: its decisions and commentary, kept in memory, written as JSON.

All times are in seconds from the first frame of the stream. The JSON (`events.json` of the demo, `--json`
of `stride-ros replay`) is:

`schema`        "stride_ros/run/1"
`source`        what was watched: `name`, `seconds`, and what else describes it
`settings`      what was set, name to value
`notes`         what was odd about the stream, sentences
`queries`       one entry a query: `query`, and
  `spans`         `id`, `start`, `end`, `state` ("offset", "retracted", or "open" at the end of the
                  run), `onset` (time of the newest frame when the trigger was met), `confidence`,
                  `commentary` (null, or `text`, `status` "ok", "error" or "skipped", `error`,
                  `model`)
  `expected`      ground truth, where there is any: `start`, `end`, `text`
  `activity`      [start, end, P(active)] of one stretch after another, by the first decision on it
`verdict`       only where the run was judged: `Verdict.to_json`
`latencies`     measured seconds, only where asked for: `decision`, `onset` and `commentary` lists
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stride_ros.imaging.picture_file import encode_jpeg
from stride_ros.imaging.resize import resize
from stride_ros.text.wording import counted_found
from stride_ros.user_files.output import write_whole

if TYPE_CHECKING:
    from stride_ros.runs.verdict import Verdict

SCHEMA = "stride_ros/run/1"
OPEN, OFFSET, RETRACTED = "open", "offset", "retracted"
_BIN = 0.1  # s, the resolution of activity
STATUSES = ("ok", "error", "skipped")


@dataclass
class Said:
    """The answer to one onset; `latency` in s from the onset to the complete answer.

    `frame_stamps`: stamps in ns of the frames that the model was shown; not in the JSON.
    """

    text: str
    model: str
    status: str = "ok"
    error: str = ""
    latency: float | None = None
    frame_stamps: tuple[int, ...] = ()


@dataclass
class Span:
    """One published span; `onset` is the time of the frame at which the trigger was met."""

    id: int
    start: float
    end: float
    onset: float
    confidence: float
    state: str = OPEN
    latency: float | None = None  # s, from the arrival of that frame to the publication
    said: Said | None = None
    thumbnail: bytes = b""  # JPEG of the frame at the onset


@dataclass(frozen=True)
class Expected:
    """One event of the ground truth, known from a synthetic world or written by a user."""

    start: float
    end: float
    text: str = ""


@dataclass
class QueryRun:
    """All results of one query."""

    query: str
    spans: list[Span] = field(default_factory=list)
    expected: list[Expected] = field(default_factory=list)
    decision_seconds: list[float] = field(default_factory=list)
    _first: dict[int, tuple[float, int]] = field(default_factory=dict)  # bin -> (P(active), slot)

    def decided(
        self, time: float, labels: np.ndarray, probabilities: np.ndarray, resolution: float, seconds: float
    ) -> None:
        """Add a decision: the window that ends at `time`, and the `seconds` it took."""
        self.decision_seconds.append(seconds)
        count = len(labels)
        # Slots that no pass decided (unseen, or before a completed span) have probability 0. Skipped or late
        # frames shift the slots of one decision against those of the next, hence the fine bins.
        for i in np.flatnonzero((labels != 255) & (probabilities > 0)):
            start = time - (count - int(i)) * resolution
            decided = (float(probabilities[i]), len(self.decision_seconds) * count + int(i))
            for position in range(max(round(start / _BIN), 0), round((start + resolution) / _BIN)):
                self._first.setdefault(position, decided)

    def activity(self) -> list[tuple[float, float, float]]:
        """Time ranges as (start, end, P(active)), from the first decision on each; gaps are unseen."""
        stretches: list[list[float]] = []
        before: tuple[int, int] | None = None  # bin and slot
        for position in sorted(self._first):
            value, slot = self._first[position]
            if before == (position - 1, slot):
                stretches[-1][1] = (position + 1) * _BIN
            else:
                stretches.append([position * _BIN, (position + 1) * _BIN, value])
            before = (position, slot)
        return [(start, end, value) for start, end, value in stretches]


@dataclass
class Run:
    """One run of one or several queries over `seconds` of a stream, from `begin` (s) on.

    The length goes from the first image to the end of the last one, which lasts as long as one usually does.
    """

    name: str
    seconds: float
    queries: list[QueryRun]
    source: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    strip: list[tuple[float, bytes]] = field(default_factory=list)  # times and JPEGs along the stream
    responder: str = ""  # the model that answers onsets; empty: none
    begin: float = 0.0
    verdict: Verdict | None = None  # if there was ground truth to judge it by

    @property
    def answers(self) -> bool:
        """Whether there was a responder to answer onsets."""
        return bool(self.responder) or any(span.said is not None for _, span in self.spans())

    def spans(self) -> list[tuple[QueryRun, Span]]:
        """All spans with their queries, by onset."""
        every = [(query, span) for query in self.queries for span in query.spans]
        return sorted(every, key=lambda pair: (pair[1].onset, pair[0].query, pair[1].id))

    @property
    def found(self) -> int:
        """Number of spans that were not retracted."""
        return sum(span.state != RETRACTED for query in self.queries for span in query.spans)

    @property
    def retracted(self) -> int:
        """Number of spans that were retracted."""
        return sum(len(query.spans) for query in self.queries) - self.found

    @property
    def summary(self) -> str:
        """How many spans were found and, where there are any, retracted."""
        return counted_found(self.found, self.retracted)

    def to_json(self, *, latencies: bool) -> str:
        """The run as JSON; without measured `latencies` the same decisions give the same bytes."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "source": {"name": self.name, "seconds": shortened(self.seconds), **self.source},
            "settings": dict(self.settings),
            "notes": self.notes,
            "queries": [_query_to_json(query) for query in self.queries],
        }
        if self.verdict is not None:
            document["verdict"] = self.verdict.to_json()
        if latencies:
            spans = [span for _, span in self.spans()]
            said = [span.said.latency for span in spans if span.said is not None]
            document["latencies"] = {
                "decision": [shortened(t) for query in self.queries for t in query.decision_seconds],
                "onset": [shortened(span.latency) for span in spans if span.latency is not None],
                "commentary": [shortened(latency) for latency in said if latency is not None],
            }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def write_json(self, path: str | Path, *, latencies: bool) -> None:
        """Write `to_json` to a file; SourceError if it cannot be written."""
        write_whole(path, self.to_json(latencies=latencies))


def _query_to_json(query: QueryRun) -> dict[str, Any]:
    return {
        "query": query.query,
        "spans": [
            {
                "id": span.id,
                "start": shortened(span.start),
                "end": shortened(span.end),
                "state": span.state,
                "onset": shortened(span.onset),
                "confidence": shortened(span.confidence),
                "commentary": None
                if span.said is None
                else {
                    "text": span.said.text,
                    "status": span.said.status,
                    "error": span.said.error,
                    "model": span.said.model,
                },
            }
            for span in query.spans
        ],
        "expected": [
            {"start": shortened(item.start), "end": shortened(item.end), "text": item.text}
            for item in query.expected
        ],
        "activity": [[shortened(value) for value in stretch] for stretch in query.activity()],
    }


def shortened(value: float) -> float:
    """A number with the digits that a record keeps."""
    return round(float(value), 4)


def thumbnail(frame: np.ndarray, width: int = 320) -> bytes:
    """A JPEG of an (H, W, 3) uint8 RGB frame, up to `width` pixels wide."""
    if frame.shape[1] > width:
        frame = resize(frame, (width, max(1, round(frame.shape[0] * width / frame.shape[1]))))
    return encode_jpeg(frame, 82)
