"""Judge a run by the ground truth: the only place that decides what was found, missed or a false alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stride_ros.runs.expectations import Expectations, ExpectedSpan, Quiet
from stride_ros.runs.intervals import overlap, pair_best_first
from stride_ros.runs.onsets import ONSET_TOLERANCE, match_onsets, near_event
from stride_ros.runs.record import RETRACTED, Expected, QueryRun, Run, Span
from stride_ros.runs.verdict import Line, OnsetCounts, Verdict, unmet
from stride_ros.text.wording import counted, plural


def judge(run: Run, expectations: Expectations) -> Verdict:
    """Compare a run with the ground truth; queries that the run did not watch for are left out."""
    lines: list[Line] = []
    onsets: list[OnsetCounts] = []
    spans = 0
    for query in run.queries:
        events = [item for item in expectations.spans if item.query == query.query]
        quiet = [item for item in expectations.quiet if item.query == query.query]
        if not events and not quiet:
            continue  # nothing is known about this query
        lines += _lines(query, events, quiet, expectations.iou)
        onsets.append(_counts(run, query, events, quiet))
        spans += sum(span.state != RETRACTED for span in query.spans) if events else 0
    hits = sum(line.good for line in lines)
    wanted = sum(isinstance(line.expected, ExpectedSpan) for line in lines)
    recall = hits / wanted if wanted else None
    precision = hits / spans if spans else None
    failures = unmet(recall, precision, (expectations.recall, expectations.precision))
    loud = sum(line.verdict == "not quiet" for line in lines)
    if loud:
        failures.append(
            f"{counted(loud, 'span')} {plural(loud, 'lies', 'lie')} where nothing should be found"
        )
    return Verdict(sorted(lines, key=_start), recall, precision, failures, onsets)


def judge_recorded(run: Run) -> Verdict:
    """Compare a run with the ground truth in its record, with the usual overlap and no thresholds."""
    spans = [
        ExpectedSpan(query.query, item.start, item.end, text=item.text)
        for query in run.queries
        for item in query.expected
    ]
    return judge(run, Expectations(spans, recall=0.0, precision=0.0))


def add_to(run: Run, expectations: Expectations) -> None:
    """Add the ground truth to the run, and how the run compares with it, for its report and JSON."""
    for query in run.queries:
        query.expected = [
            Expected(item.start, item.end, item.text)
            for item in sorted(expectations.spans, key=lambda item: item.start)
            if item.query == query.query
        ]
    run.verdict = judge(run, expectations)


def _lines(
    query: QueryRun, events: Sequence[ExpectedSpan], quiet: Sequence[Quiet], least: float
) -> list[Line]:
    """The lines of one query; `least` is the required overlap."""
    spans = [span for span in query.spans if span.state != RETRACTED]

    def accepted(item: ExpectedSpan, span: Span) -> float | None:
        iou = _iou(item, span)
        return iou if item.accepts(span, iou, least) else None

    found = _pairs(events, spans, accepted)
    # An event with loose borders is one event: it is neither missed nor a false alarm.
    rest = [item for item in events if all(item is not event for event, _ in found)]
    others = [span for span in spans if all(span is not other for _, other in found)]
    inexact = _pairs(rest, others, _nearness)
    lines = []
    for verdict, pairs in (("found", found), ("inexact", inexact)):
        for item, span in pairs:
            alarm = not near_event(span.onset, _times(events))
            lines.append(Line(verdict, query.query, item, span, _iou(item, span), item, alarm))
    missed = [item for item in rest if all(item is not event for event, _ in inexact)]
    lines += [Line("missed", query.query, item, None) for item in missed]
    taken = [span for _, span in (*found, *inexact)]
    return lines + _others(query, taken, events, quiet)


def _others(
    query: QueryRun, taken: Sequence[Span], events: Sequence[ExpectedSpan], quiet: Sequence[Quiet]
) -> list[Line]:
    """The lines of spans that are not `taken` as the span of an event, and of those that are not quiet."""
    lines = []
    matched = {j: events[i] for i, j in _matched(events, query.spans)}
    for j, span in enumerate(query.spans):
        near = near_event(span.onset, _times(events))
        further = all(span is not other for other in taken)
        touched = _touched(span, quiet)
        loud = span.state != RETRACTED and touched is not None
        if loud:
            alarm = further and not near
            lines.append(Line("not quiet", query.query, touched, span, false_alarm=alarm))
        if further and (near or (not loud and (events or touched is not None))):
            kind = "retracted" if span.state == RETRACTED else "repeated"
            event = matched.get(j) or _event_of(span, events)
            verdict = kind if near else "false alarm"
            lines.append(Line(verdict, query.query, None, span, event=event, false_alarm=not near))
    return lines


def _event_of(span: Span, events: Sequence[ExpectedSpan]) -> ExpectedSpan | None:
    """The event that an onset is at, or, if it is at none, the event that its span overlaps."""
    near = [item for item in events if near_event(span.onset, _times([item]))]
    if near:
        return min(near, key=lambda item: abs(span.onset - item.start))
    return max(
        (item for item in events if _iou(item, span) > 0), key=lambda item: _iou(item, span), default=None
    )


def _matched(events: Sequence[ExpectedSpan], spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Pairs (event, span) of which the onset is in time."""
    return match_onsets(_times(events), [span.onset for span in spans])


def _times(events: Sequence[ExpectedSpan]) -> list[tuple[float, float]]:
    return [(item.start, item.end) for item in events]


def _pairs(
    events: Sequence[ExpectedSpan], spans: Sequence[Span], score: Callable[[ExpectedSpan, Span], float | None]
) -> list[tuple[ExpectedSpan, Span]]:
    """Pairs of an event and a span, each used once, highest scores first."""
    pairs = pair_best_first(len(events), len(spans), lambda i, j: score(events[i], spans[j]))
    return [(events[i], spans[j]) for i, j, _ in pairs]


def _nearness(item: ExpectedSpan, span: Span) -> float | None:
    """Positive if the two overlap, negative if only the onset is near the event's start, None otherwise."""
    distance = abs(span.onset - item.start)
    return _iou(item, span) or (-distance if distance <= ONSET_TOLERANCE else None)


def _touched(span: Span, quiet: Sequence[Quiet]) -> Quiet | None:
    return next((item for item in quiet if min(item.end, span.end) > max(item.start, span.start)), None)


def _counts(run: Run, query: QueryRun, events: Sequence[ExpectedSpan], quiet: Sequence[Quiet]) -> OnsetCounts:
    truth = _times(events)
    spans, seconds = query.spans, run.seconds
    if not events:  # nothing is known about the rest of the recording
        spans = [span for span in spans if _touched(span, quiet) is not None]
        seconds = _covered(quiet, run.begin, run.begin + run.seconds)
    return OnsetCounts(
        query.query,
        len(events),
        tuple(spans[j].onset - events[i].start for i, j in _matched(events, spans)),
        len(spans),
        sum(span.state == RETRACTED for span in spans),
        sum(not near_event(span.onset, truth) for span in spans),
        seconds,
    )


def _covered(quiet: Sequence[Quiet], begin: float, end: float) -> float:
    """Seconds from `begin` to `end` that are in at least one of the ranges."""
    covered, until = 0.0, begin
    for item in sorted(quiet, key=lambda item: item.start):
        covered += max(min(item.end, end) - max(item.start, until), 0.0)
        until = max(until, min(item.end, end))
    return covered


def _iou(item: ExpectedSpan, span: Span) -> float:
    return overlap(item.start, item.end, span.start, span.end)


def _start(line: Line) -> tuple[float, str, bool, float]:
    """Sort by events; further spans of an event follow it."""
    own = line.expected if isinstance(line.expected, ExpectedSpan) else None
    item = own or line.event or line.span
    return (
        item.start if item is not None else 0.0,
        line.query,
        own is None,
        line.span.onset if line.span is not None else 0.0,
    )
