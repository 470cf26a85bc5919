"""report.html: one self-contained page about a run, with the timeline, the frames and what was said."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from stride_ros.errors import SourceError
from stride_ros.replay.matching import match_spans
from stride_ros.replay.page import page
from stride_ros.replay.record import OFFSET, OPEN, RETRACTED, QueryRun, Run, Span
from stride_ros.replay.timeline import time_label, timeline_svg, write_timeline_png


def write_report(run: Run, folder: str | Path) -> None:
    """Write report.html and timeline.png into ``folder``, which is made; SourceError when that fails."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.html").write_text(report_html(run), encoding="utf-8")
        write_timeline_png(run, folder / "timeline.png")
    except OSError as error:
        raise SourceError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from error


def report_html(run: Run) -> str:
    """The page as text; it refers to nothing outside itself."""
    sections = [
        "<header><h1>What the camera showed, and what was said</h1>",
        f'<p class="lead">{escape(run.name)}, {time_label(run.seconds).removesuffix(".0")} min</p></header>',
        *(f'<p class="notice">{escape(note)}</p>' for note in run.notes),
        f'<section class="tiles">{"".join(_tiles(run))}</section>',
        f"<section><h2>Over time</h2>{''.join(_charts(run))}</section>",
        f"<section><h2>Said</h2>{_said(run)}</section>",
        *(_matches(query) for query in run.queries if query.expected),
        _latencies(run),
        _settings(run),
        "<footer>Times are minutes and seconds from the first frame. Made by stride_ros.</footer>",
    ]
    return page(f"stride_ros: {run.name}", "\n".join(section for section in sections if section))


def _tiles(run: Run) -> Iterator[str]:
    spans = [span for _, span in run.spans()]
    answers = [span.said for span in spans if span.said is not None and span.said.status == "ok"]
    decisions = [t for query in run.queries for t in query.decision_seconds]
    delays = [answer.latency for answer in answers if answer.latency is not None]
    yield _tile(str(sum(span.state != RETRACTED for span in spans)), "spans found")
    if retracted := sum(span.state == RETRACTED for span in spans):
        yield _tile(str(retracted), "retracted as false alarms")
    yield _tile(str(len(answers)), "sentences said")
    yield _tile(str(len(decisions)), "decisions, one a second")
    if decisions:
        yield _tile(f"{1000 * np.median(decisions):.0f} ms", "median time of a decision")
    if delays:
        yield _tile(f"{np.median(delays):.2f} s", "median time to a whole sentence")


def _tile(value: str, label: str) -> str:
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def _charts(run: Run) -> Iterator[str]:
    for query in run.queries:
        yield f'<div class="card chart"><p class="query">“{escape(query.query)}”</p>'
        yield timeline_svg(run, query)
        yield '<p class="legend"><span><i style="background:var(--curve)"></i>P(active)</span>'
        yield '<span><i style="background:var(--span)"></i>decided span</span>'
        yield '<span><i style="background:var(--onset)"></i>onset: time to speak</span>'
        if any(span.state == RETRACTED for span in query.spans):
            yield '<span><i style="outline:1px dashed var(--gone)"></i>retracted</span>'
        if query.expected:
            yield '<span><i style="background:var(--expected)"></i>expected</span>'
        yield "</p></div>"
    if run.strip:
        yield f'<div class="strip" style="grid-template-columns:repeat({len(run.strip)},1fr)">'
        for time, picture in run.strip:
            label = time_label(time)
            yield f"<figure>{_picture(picture, f'frame at {label}')}<figcaption>{label}</figcaption></figure>"
        yield "</div>"


def _said(run: Run) -> str:
    cards = "".join(_card(query, span, len(run.queries) > 1) for query, span in run.spans())
    return f'<div class="said">{cards}</div>' if cards else "<p>Nothing: no span met the trigger.</p>"


def _card(query: QueryRun, span: Span, name_query: bool) -> str:
    image = _picture(span.thumbnail, f"frame at the onset of span {span.id}") if span.thumbnail else ""
    state = {OFFSET: "", OPEN: ", still going on at the end", RETRACTED: ", retracted as a false alarm"}[
        span.state
    ]
    facts = [
        f"span {span.id}: {time_label(span.start)} to {time_label(span.end)}{state}",
        f"confidence {span.confidence:.2f}",
    ]
    if span.latency is not None:
        facts.append(f"decided in {1000 * span.latency:.0f} ms")
    if span.said is not None and span.said.latency is not None:
        facts.append(f"said after {span.said.latency:.2f} s by {span.said.model}")
    asked = f'<p class="facts">{escape(query.query)}</p>' if name_query else ""
    return (
        f'<article class="card">{image}<div><span class="when">{time_label(span.onset)}</span>'
        f'{_sentence(span)}{asked}<span class="facts">{escape(" · ".join(facts))}</span></div></article>'
    )


def _sentence(span: Span) -> str:
    if span.said is None:
        return '<span class="silent">No answer was asked for or came in time.</span>'
    if span.said.status == "ok" and span.said.text.strip():
        return f"<q>{escape(span.said.text)}</q>"
    return f'<span class="silent">{escape(span.said.error or "The model said nothing.")}</span>'


def _matches(query: QueryRun) -> str:
    rows = []
    for match in match_spans(query.expected, query.spans):
        truth, span = match.expected, match.span
        expected = f"{time_label(truth.start)} to {time_label(truth.end)}" if truth else ""
        found = f"{time_label(span.start)} to {time_label(span.end)} (span {span.id})" if span else ""
        late = f"{span.onset - truth.start:+.1f} s" if truth and span else ""
        said = span.said.text if span and span.said else ""
        colour = {"found": "good", "inexact": "fair"}.get(match.verdict, "bad")
        iou = f"{match.iou:.2f}" if truth and span else ""
        cells = (expected, truth.text if truth else "", found, iou, late, said)
        columns = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><td class="{colour}">{match.verdict}</td>{columns}</tr>')
    head = "".join(
        f"<th>{name}</th>"
        for name in ("", "expected", "what happens", "decided", "overlap (IoU)", "onset after start", "said")
    )
    return (
        '<section><h2>Against what was expected</h2><div class="card">'
        f'<p class="query">“{escape(query.query)}”</p>'
        f"<table><tr>{head}</tr>{''.join(rows)}</table></div></section>"
    )


def _latencies(run: Run) -> str:
    seconds = [t for query in run.queries for t in query.decision_seconds]
    if len(seconds) < 2:
        return ""
    return f'<section><h2>Time of a decision</h2><div class="card">{_histogram(seconds)}</div></section>'


def _histogram(seconds: Sequence[float]) -> str:
    """How often a decision took how long; the slowest percent is gathered in the last bar."""
    times = np.asarray(seconds) * 1000
    counts, edges = np.histogram(np.minimum(times, np.percentile(times, 99)), bins=min(24, len(times)))
    step = 500 / len(counts)
    bars = "".join(
        f'<rect x="{10 + i * step:.1f}" y="{90 - 80 * n / counts.max():.1f}" width="{max(step - 2, 1):.1f}"'
        f' height="{80 * n / counts.max():.1f}" rx="1.5">'
        f"<title>{edges[i]:.0f} to {edges[i + 1]:.0f} ms: {n}</title></rect>"
        for i, n in enumerate(counts)
    )
    return (
        '<svg class="histogram" viewBox="0 0 520 112" role="img" aria-label="histogram of decision times">'
        f'{bars}<text x="10" y="106">{edges[0]:.0f} ms</text><text x="510" y="106" text-anchor="end">'
        f'{edges[-1]:.0f} ms</text><text x="260" y="106" text-anchor="middle">'
        f"median {np.median(times):.0f} ms, "
        f"slowest {times.max():.0f} ms, {len(times)} decisions</text></svg>"
    )


def _settings(run: Run) -> str:
    facts = {name: value for name, value in {**run.source, **run.settings}.items() if value is not None}
    rows = "".join(f"<tr><td>{escape(str(k))}</td><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    return (
        f'<section><h2>Settings</h2><div class="card"><table>{rows}</table></div></section>' if rows else ""
    )


def _picture(data: bytes, description: str) -> str:
    return f'<img src="data:image/jpeg;base64,{b64encode(data).decode()}" alt="{escape(description)}">'
