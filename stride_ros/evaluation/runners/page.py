"""Write report.html of a benchmark run: its row next to the published ones, and the worst items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import StrideError
from stride_ros.evaluation.benchmarks.result import Score
from stride_ros.evaluation.runners.clips import window_frames
from stride_ros.evaluation.runners.judging import Judge, Judged
from stride_ros.evaluation.runners.published import comparison
from stride_ros.evaluation.runners.store import Entry, Store
from stride_ros.pages.page import page, shown
from stride_ros.runs.record import thumbnail
from stride_ros.runs.report import flat, picture_html, settings_html, tile_html
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, length_label, plural, time_label
from stride_ros.user_files.output import write_whole

if TYPE_CHECKING:
    from stride_ros.evaluation.runners.options import Bench

_WORST, _OF_TASK = 12, 3  # items that are shown in total, and per task at first
_AT_A_TIME = 500  # items of a task that are sorted at a time
_ERRORS = 20  # that are shown
_TEXT = 300  # characters of a question or a reply
_TITLES = {"et-bench": "ET-Bench", "ovo-bench": "OVO-Bench", "streaming-bench": "StreamingBench"}
_ROW, _LABELS = 22, 72  # px


def write_page(
    path: Path,
    bench: Bench,
    settings: Mapping[str, Any],
    score: Score | None,
    store: Store,
    errors: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    """Write the page of a run; `score` is None if no item gave a result. Raises SourceError."""
    title = _TITLES[bench.name]
    judge = Judge(bench)
    wanted = set(bench.keys())
    worst, judged, seconds = _worst(judge, (entry for entry in store.entries() if entry.item in wanted))
    sections = [
        f"<header><h1>{title}</h1>",
        f'<p class="lead">{shown(_lead(settings))}</p></header>',
        *(f'<p class="notice">{shown(note)}</p>' for note in notes),
        f'<section class="tiles">{"".join(_tiles(len(wanted), judged, len(errors), seconds))}</section>',
    ]
    if score is not None:
        sections.append(_comparison(score, settings))
        sections += [_table(headings, rows) for headings, rows in score.tables]
        under = "".join(f"<p>{shown(note)}</p>" for note in score.notes[:_ERRORS])
        sections.append(f'<div class="facts below">{under}</div>' if under else "")
    if worst:
        cards = "".join(map(_card, worst))
        sections.append(f'<section><h2>Worst items</h2><div class="spans">{cards}</div></section>')
    sections += [_errors(errors), settings_html(list(flat(settings)))]
    sections.append("<footer>Times are those of the videos. Made by stride_ros.</footer>")
    write_whole(path, page(f"stride_ros: {title}", "\n".join(part for part in sections if part)))


def _lead(settings: Mapping[str, Any]) -> str:
    models = [str(settings[name]) for name in ("model", "responder") if name in settings]
    return f"{' and '.join(models)}, {settings['mode']}"


def _worst(judge: Judge, entries: Iterable[Entry]) -> tuple[list[Judged], int, float]:
    """The items with the lowest scores, some of each task; the number judged; seconds of all."""
    of_task: dict[str, list[Judged]] = defaultdict(list)
    judged, seconds = 0, 0.0
    for entry in entries:
        seconds += entry.seconds
        item = judge(entry)
        if item is None:
            continue
        judged += 1
        if item.score < 1:
            of_task[item.task].append(item)
            if len(of_task[item.task]) > _AT_A_TIME:
                of_task[item.task] = _lowest(of_task[item.task])
    lists = [_lowest(items) for items in of_task.values()]
    first = [item for items in lists for item in items[:_OF_TASK]]
    rest = [item for items in lists for item in items[_OF_TASK:]]
    return [*_lowest(first), *_lowest(rest)][:_WORST], judged, seconds


def _lowest(items: list[Judged]) -> list[Judged]:
    return sorted(items, key=lambda item: (item.score, item.key))[:_WORST]


def _tiles(items: int, judged: int, errors: int, seconds: float) -> Iterator[str]:
    yield tile_html(f"{items:,}", plural(items, "item"))
    yield tile_html(f"{judged:,}", "scored")
    yield tile_html(f"{errors:,}", plural(errors, "error"))
    yield tile_html(length_label(seconds), "total time of all items")


def _comparison(score: Score, settings: Mapping[str, Any]) -> str:
    headings, rows, footnote = comparison(score, settings)
    table = _rows(headings, rows)
    return (
        f'<section><h2>Compared with published figures</h2><div class="card figures"><table>{table}</table>'
        f'<p class="facts below">{shown(footnote)}</p></div></section>'
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ours = [row for row in rows if not row[0].startswith("published")]
    title, table = headings[0] or "By source", _rows(("", *headings[1:]), ours)
    return f'<section><h2>{shown(title)}</h2><div class="card figures"><table>{table}</table></div></section>'


def _rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{shown(name)}</th>" for name in headings)
    body = "".join(f"<tr>{''.join(map(_cell, headings, row))}</tr>" for row in rows)
    return f"<tr>{head}</tr>{body}"


def _cell(heading: str, text: str) -> str:
    name = f' data-name="{shown(heading)}"' if heading else ""  # for screens without room for a table
    return f"<td{name}>{shown(text)}</td>"


def _card(item: Judged) -> str:
    image = _thumbnail(item)
    asked = f'<q dir="auto">{shown(visible(item.text, _TEXT))}</q>'
    facts = [f"expected: {item.right}", f"given: {item.given}", item.video.name]
    told = "".join(f'<p class="facts" dir="auto">{shown(visible(fact, _TEXT))}</p>' for fact in facts)
    return (
        f'<article class="card">{image}<div><span class="when">{shown(visible(item.task, 60))}: '
        f"{100 * item.score:.0f} %</span>{asked}{_bars(item)}{told}</div></article>"
    )


def _thumbnail(item: Judged) -> str:
    try:
        for image, time in window_frames(item.video, [item.time], 640):
            return picture_html(thumbnail(image), f"{item.video.name} at {time_label(time)}")
    except StrideError:
        pass  # a report without the picture is better than none
    return ""


def _bars(item: Judged) -> str:
    """A timeline with the correct spans above those given, or the part shown."""
    spans = (*item.truth, *item.found)
    if not spans:
        return ""
    begin, end = min(span[0] for span in spans), max(span[1] for span in spans)
    margin = 0.05 * max(end - begin, 1.0)
    begin = max(0.0, begin - margin)
    length = end + margin - begin

    def bar(kind: str, row: int, span: tuple[float, float]) -> str:
        x, width = 100 * (span[0] - begin) / length, 100 * (span[1] - span[0]) / length
        about = f"{time_label(span[0])} to {time_label(span[1])}"
        return (
            f'<g><title>{about}</title><rect class="{kind}" x="{x:.2f}%" y="{row * _ROW + 3}" rx="3" '
            f'width="{max(width, 0.6):.2f}%" height="{_ROW - 6}"/></g>'
        )

    rows = [("expected", "truth", item.truth), (item.found_are, "span", item.found)]
    rows = [row for row in rows if row[2]]
    names = "".join(
        f'<text class="row" x="{_LABELS - 8}" y="{i * _ROW + 15}">{name}</text>'
        for i, (name, *_) in enumerate(rows)
    )
    drawn = "".join(bar(kind, i, span) for i, (_, kind, of_row) in enumerate(rows) for span in of_row)
    height = len(rows) * _ROW
    foot = (
        f'<text x="0" y="{height + 14}">{time_label(begin)}</text>'
        f'<text class="row" x="100%" y="{height + 14}">{time_label(end + margin)}</text>'
    )
    return (
        f'<div class="timeline" role="img" aria-label="times of the expected and the given spans">'
        f'<svg class="rows" width="{_LABELS}" height="{height + 20}">{names}</svg>'
        f'<svg class="plot" height="{height + 20}">{drawn}{foot}</svg></div>'
    )


def _errors(errors: Mapping[str, str]) -> str:
    if not errors:
        return ""
    rows = [(visible(key, 80), reason) for key, reason in list(errors.items())[:_ERRORS]]
    more = len(errors) - len(rows)
    note = f'<p class="facts">{counted(more, "more error")} in score.json.</p>' if more else ""
    table = _rows(("item", "why"), rows)
    return f'<section><h2>Errors</h2><div class="card"><table>{table}</table>{note}</div></section>'
