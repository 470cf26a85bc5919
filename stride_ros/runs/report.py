"""Write report.html: a self-contained page about a run, with the timeline, frames and commentary."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stride_ros.pages.page import page, shown
from stride_ros.runs.expectations import ExpectedSpan, Quiet
from stride_ros.runs.judging import judge_recorded
from stride_ros.runs.record import OFFSET, OPEN, RETRACTED, QueryRun, Run, Span
from stride_ros.runs.recorder import ROW
from stride_ros.runs.timeline import legend_html, timeline_svg
from stride_ros.runs.timeline_png import write_timeline_png
from stride_ros.runs.verdict import OnsetCounts, Verdict
from stride_ros.text.wording import counted, length_label, plural, time_label
from stride_ros.user_files.output import make_folder, whole_file, write_whole


def write_report(run: Run, folder: str | Path) -> None:
    """Write report.html and timeline.png into `folder`, which is created; SourceError if that fails."""
    folder = Path(folder)
    make_folder(folder)
    write_whole(folder / "report.html", report_html(run))
    with whole_file(folder / "timeline.png") as picture:
        write_timeline_png(run, picture)


def _length(run: Run) -> str:
    length = f"{length_label(run.seconds)} of video"
    return f"{length} from {time_label(run.begin).removesuffix('.0')} on" if run.begin else length


def report_html(run: Run) -> str:
    """The page as text; it refers to nothing outside itself."""
    heading = "What the camera showed, with commentary" if run.answers else "What the camera showed"
    sections = [
        f"<header><h1>{heading}</h1>",
        f'<p class="lead">{_text(run.name)}, {_length(run)}</p></header>',
        *(f'<p class="notice">{shown(note)}</p>' for note in run.notes),
        f'<section class="tiles">{"".join(_tiles(run))}</section>',
        f"<section><h2>Over time</h2>{''.join(_charts(run))}</section>",
        f"<section><h2>{'Commentary' if run.answers else 'Spans'}</h2>{_spans(run)}</section>",
        _truth(run),
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
    yield tile_html(str(run.found), f"{plural(run.found, 'span')} found")
    if run.retracted:
        yield tile_html(str(run.retracted), f"{plural(run.retracted, 'span')} retracted")
    if run.answers:
        yield tile_html(str(len(answers)), f"{plural(len(answers), 'sentence')} said")
    yield tile_html(f"{len(decisions):,}", plural(len(decisions), "decision"))
    if decisions:
        yield tile_html(f"{1000 * np.median(decisions):.0f} ms", "median time of a decision")
    if delays:
        yield tile_html(f"{np.median(delays):.2f} s", "median time to a complete sentence")


def tile_html(value: str, label: str) -> str:
    """A figure with its label."""
    return f'<div class="card"><b>{shown(value)}</b><span>{shown(label)}</span></div>'


def _charts(run: Run) -> Iterator[str]:
    for query in run.queries:
        chart = timeline_svg(run, query) + legend_html(run, query)
        yield f'<div class="card chart">{_query(query)}{chart}</div>'
    if run.strip:
        kind = "strip rows" if len(run.strip) > ROW else "strip"
        yield f'<div class="{kind}" style="--pictures:{len(run.strip)}">'
        for time, picture in run.strip:
            label = time_label(time)
            image = picture_html(picture, f"frame at {label}")
            yield f"<figure>{image}<figcaption>{label}</figcaption></figure>"
        yield "</div>"


def _spans(run: Run) -> str:
    cards = "".join(_card(run, query, span) for query, span in run.spans())
    return f'<div class="spans">{cards}</div>' if cards else "<p>Nothing: no span met the trigger.</p>"


def _card(run: Run, query: QueryRun, span: Span) -> str:
    image = picture_html(span.thumbnail, f"frame at the onset of span {span.id}") if span.thumbnail else ""
    state = {OFFSET: "", OPEN: ", still going on at the end", RETRACTED: ", retracted"}[span.state]
    facts = [f"span {span.id}: {_interval(span)}{state}", f"confidence {span.confidence:.2f}"]
    if span.latency is not None:
        facts.append(f"decided in {1000 * span.latency:.0f} ms")
    if span.said is not None and span.said.latency is not None:
        facts.append(f"said after {span.said.latency:.2f} s by {span.said.model}")
    asked = f'<p class="facts" dir="auto">{shown(query.query)}</p>' if len(run.queries) > 1 else ""
    return (
        f'<article class="card">{image}<div><span class="when">{time_label(span.onset)}</span>'
        f"{_sentence(span) if run.answers else ''}{asked}"
        f'<p class="facts">{shown(" · ".join(facts))}</p></div></article>'
    )


def _sentence(span: Span) -> str:
    if span.said is None:
        return '<span class="silent">No answer was requested or came in time.</span>'
    if span.said.status == "ok" and span.said.text.strip():
        return f'<q dir="auto">{shown(span.said.text.strip())}</q>'
    reason = span.said.error or "The model said nothing."
    return f'<span class="silent" dir="auto">{shown(reason)}</span>'


def _truth(run: Run) -> str:
    verdict = run.verdict or judge_recorded(run)
    cards = "".join(_matches(run, verdict, counts) for counts in verdict.onsets)
    if not cards:
        return ""
    topic = run.source.get("ground truth")
    about = f'<p class="lead">As recorded on {shown(str(topic))}.</p>' if topic else ""
    scores = f"{verdict.scores}. {verdict.outcome}" if run.verdict else verdict.scores
    grade = "good" if verdict.ok else "bad"
    total = f'<p class="{grade if run.verdict else "facts"}">{shown(scores)}</p>'
    return f"<section><h2>Against the ground truth</h2>{about}{total}{cards}</section>"


def _matches(run: Run, verdict: Verdict, counts: OnsetCounts) -> str:
    names = ["", "ground truth", "what happens", "decided", "overlap (IoU)", "onset"]
    names += ["said"] if run.answers else []
    rows = []
    for line in verdict.lines:
        if line.query != counts.query:
            continue
        truth, span = line.expected, line.span
        gone = ", retracted" if line.retracted else ""
        cells = [
            line.verdict,
            _interval(truth) if truth else "",
            truth.text if isinstance(truth, ExpectedSpan) else "nothing" if truth else "",
            f"{_interval(span)} (span {span.id}{gone})" if span else "",
            f"{line.iou:.2f}" if span and isinstance(truth, ExpectedSpan) else "",
            line.onset,
            span.said.text if span and span.said else "",
        ]
        rows.append("".join(_cell(name, text, line.grade) for name, text in zip(names, cells, strict=False)))
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table><tr>{head}</tr>{body}</table>" if rows else ""
    query = f'<p class="query" dir="auto">“{shown(counts.query.strip())}”</p>'
    facts = f'<p class="facts below">{shown(str(counts))}</p>'
    return f'<div class="card matches">{query}{table}{facts}</div>'


def _cell(name: str, text: str, colour: str) -> str:
    if not name:
        return f'<td class="{colour}">{text}</td>'
    kind = ' class="times"' if name in ("ground truth", "decided") else ""
    return f'<td{kind} data-name="{name}" dir="auto">{shown(text)}</td>'


def _query(query: QueryRun) -> str:
    return f'<p class="query" dir="auto">“{shown(query.query.strip())}”</p>'


def _text(text: str) -> str:
    return f"<bdi>{shown(text)}</bdi>"


def _interval(item: Span | ExpectedSpan | Quiet) -> str:
    return f"{time_label(item.start)} to {time_label(item.end)}"


def _latencies(run: Run) -> str:
    seconds = [t for query in run.queries for t in query.decision_seconds]
    if len(seconds) < 2:
        return ""
    return f'<section><h2>Time of a decision</h2><div class="card">{_histogram(seconds)}</div></section>'


def _histogram(seconds: Sequence[float]) -> str:
    """A histogram of decision times; the slowest percent is collected in the last bar."""
    times = np.asarray(seconds) * 1000
    most = np.percentile(times, 99)
    low = math.floor(times.min())
    width = max(math.ceil((most - low) / min(24, len(times))), 1)  # whole ms, so that labels differ
    edges = np.arange(low, max(most, low + 0.5) + width, width)
    counts, _ = np.histogram(np.minimum(times, most), bins=edges)
    step = 100 / len(counts)
    bars = "".join(
        f'<rect x="{i * step:.2f}%" y="{82 - 80 * n / counts.max():.1f}" width="{0.9 * step:.2f}%"'
        f' height="{80 * n / counts.max():.1f}" rx="1.5">'
        f"<title>{edges[i]:.0f} to {edges[i + 1]:.0f} ms: {n}</title></rect>"
        for i, n in enumerate(counts)
        if n
    )
    last = f"{edges[-1]:.0f} ms" + (" and more" if round(times.max()) > round(edges[-1]) else "")
    return (
        f'<svg class="histogram" role="img" aria-label="histogram of decision times">{bars}</svg>'
        f'<p class="facts ends"><span>{edges[0]:.0f} ms</span><span>{last}</span></p>'
        f'<p class="facts">{counted(len(times), "decision")} by the time they took: median'
        f" {np.median(times):.0f} ms, slowest {times.max():.0f} ms</p>"
    )


def _settings(run: Run) -> str:
    source = {name: value for name, value in run.source.items() if value is not None}
    return settings_html([*flat(source), *flat(run.settings)])


def settings_html(rows: Sequence[tuple[str, str]]) -> str:
    """A section with names and values of settings; empty if there are none."""
    table = "".join(
        f'<tr><td>{shown(name)}</td><td dir="auto">{shown(value)}</td></tr>' for name, value in rows
    )
    return (
        f'<section><h2>Settings</h2><div class="card settings"><table>{table}</table></div></section>'
        if table
        else ""
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values in the form of a parameter file."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, bool):
            yield f"{prefix}{name}", {None: "none", True: "true", False: "false"}[value]
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", str(value)


def picture_html(data: bytes, description: str) -> str:
    """A JPEG file as part of a page."""
    return f'<img src="data:image/jpeg;base64,{b64encode(data).decode()}" alt="{shown(description)}">'
