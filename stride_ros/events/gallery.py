"""The page of a set of events, with a tile for each, to filter and sort in a browser without a server.

The page contains the texts; the pictures are files beside it, loaded as they are scrolled to. Nothing is
fetched from elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from stride_ros.errors import SourceError
from stride_ros.events.gallery_script import SCRIPT, STYLE
from stride_ros.events.record import OPEN, RETRACTED, Event
from stride_ros.events.times import local_time
from stride_ros.pages.page import page, shown
from stride_ros.terminal import printable
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted
from stride_ros.user_files.output import (
    make_folder,
    remove_unfinished,
    unfinished_name,
    unwritable,
    write_whole,
)

INDEX, PICTURES = "index.html", "pictures"
MAX_BYTES = 9_500_000  # bytes of events and names in the page, which a browser can show without stalling
_LONGEST = 400  # characters of a text on a tile
_MOST_ERRORS = 1000
_DATED = 10**18  # ns since 1970, in 2001; earlier stamps count from another start than 1970
_NAME = re.compile(r"[0-9a-f]{24}\.jpg")
_OURS = "Made by stride_ros."  # in each page
_STATES = {OPEN: "not seen to end", RETRACTED: "retracted as a false alarm"}


def _no_command(event: Event) -> str | None:
    return None


def write_gallery(
    folder: str | Path,
    events: Iterable[Event],
    picture: Callable[[Event], bytes | None],
    *,
    title: str,
    lead: str,
    errors: Sequence[tuple[str, str]] = (),
    command: Callable[[Event], str | None] = _no_command,
) -> Path:
    """Create or update `folder`/index.html and `folder`/pictures; return the path of the page.

    `picture`: returns the JPEG of an event. `title`, `lead`: the heading and the text below it. `errors`:
    what could not be read, and why. `command`: returns the command that replays an event. The page has up to
    about 10 MB; it leaves out events beyond that, and says so. Raises SourceError if something cannot be
    written, or if the folder has a page that is not of this kind.
    """
    folder = Path(folder)
    index, pictures = folder / INDEX, folder / PICTURES
    _refuse_foreign(index)
    make_folder(pictures)
    kept: set[str] = set()

    def named(event: Event) -> str:
        jpeg = picture(event)
        if not jpeg:
            return ""
        name = f"{blake2b(jpeg, digest_size=12).hexdigest()}.jpg"
        kept.add(name)
        _write_picture(pictures / name, jpeg)
        return name.removesuffix(".jpg")

    write_whole(index, _html(events, named, title, lead, errors, command))
    _remove_others(pictures, kept)
    return index


def _refuse_foreign(index: Path) -> None:
    """Raise SourceError if the page is somebody else's."""
    try:
        if index.is_file() and _OURS.encode() not in index.read_bytes():
            raise SourceError(f"{index} is not a page of events; choose another folder.")
    except OSError as error:
        raise unwritable(index, error) from error


def _html(
    events: Iterable[Event],
    named: Callable[[Event], str],
    title: str,
    lead: str,
    errors: Sequence[tuple[str, str]],
    command: Callable[[Event], str | None],
) -> str:
    queries, origins, cameras = _Names(), _Names(), _Names()
    rows: list[str] = []
    size = left_out = 0
    for event in events:
        if size + queries.size + origins.size + cameras.size > MAX_BYTES:
            left_out += 1
            continue
        first = event.first_ns if event.first_ns is not None else event.start_ns
        row = [
            queries[event.query],
            origins[event.origin],
            cameras[event.camera],
            None if event.first_ns is None else round((event.start_ns - first) / 1e9, 3),
            None if event.end_ns is None else round((event.end_ns - first) / 1e9, 3),
            _date(event.start_ns),
            event.start_ns // 1_000_000,  # ms, which a browser's numbers hold exactly
            round(event.confidence, 4),
            _state(event),
            visible(event.sentence, _LONGEST) if event.sentence else "",
            named(event),
            printable(command(event) or ""),
        ]
        rows.append(_json(row))
        size += len(rows[-1].encode())
    names = f'"queries":{_json(queries.list)},"origins":{_json(origins.list)},"cameras":{_json(cameras.list)}'
    listed = ",\n".join(rows)
    body = [
        f'<style>{STYLE}</style><header><h1>{shown(title)}</h1><p class="lead">{shown(lead)}</p></header>',
        '<noscript><p class="notice">This page needs JavaScript to show the events.</p></noscript>',
    ]
    if left_out:
        body.append(
            f'<p class="notice">{counted(left_out, "further event")} did not fit on this page; find them with'
            " <code>stride-ros find</code>.</p>"
        )
    body += [
        *_errors(errors),
        _bar(queries.list, origins.list),
        '<section id="tiles" class="spans"></section><div id="end"></div>',
        f"<footer>Times of recordings are minutes and seconds from the first frame. {_OURS}</footer>",
        f'<script type="application/json" id="data">{{{names},"events":[\n{listed}\n]}}</script>',
        f"<script>{SCRIPT}</script>",
    ]
    return page(title, "\n".join(body))


class _Names:
    """Numbers texts, so that each is in the page only once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.size = 0  # approximate bytes in the page: in a list, and as a choice

    def __getitem__(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._numbers)
            self.size += 2 * len(_json(printable(name)).encode()) + 30
        return self._numbers[name]

    @property
    def list(self) -> list[str]:
        """The texts, with control characters made harmless."""
        return [printable(name) for name in self._numbers]


def _json(value: object) -> str:
    """JSON for use inside an HTML page, where nothing in it can end the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _date(stamp_ns: int) -> str:
    return "" if stamp_ns < _DATED else local_time(stamp_ns)


def _state(event: Event) -> str:
    """What there is to say of it beside its times, which tell whether it goes on."""
    return "" if event.state == OPEN and event.end_ns is None else _STATES.get(event.state, "")


def _bar(queries: Sequence[str], origins: Sequence[str]) -> str:
    return (
        '<form class="bar" onsubmit="return false">'
        f"{_select('query', 'Query', _choices('all queries', queries))}"
        f"{_select('origin', 'Recording', _choices('all recordings', origins))}"
        '<label>Words<input id="text" type="search" autocomplete="off" placeholder="in any text">'
        "</label>"
        f"{_select('order', 'Order', _ORDERS)}"
        '<output id="count" aria-live="polite"></output></form>'
    )


_ORDERS = (("confidence", "confidence"), ("newest", "newest first"), ("oldest", "oldest first"))


def _choices(every: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "", every
    numbered = sorted(enumerate(names), key=lambda pair: pair[1])
    yield from ((str(number), name) for number, name in numbered)


def _select(name: str, label: str, choices: Iterable[tuple[str, str]]) -> str:
    # Browsers keep the chosen option when a page is reloaded, unless told not to.
    options = "".join(f'<option value="{value}">{shown(text)}</option>' for value, text in choices)
    return f'<label>{label}<select id="{name}" autocomplete="off">{options}</select></label>'


def _errors(errors: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not errors:
        return
    rows = "".join(
        f'<tr><td dir="auto">{shown(place)}</td><td dir="auto">{shown(sentence)}</td></tr>'
        for place, sentence in errors[:_MOST_ERRORS]
    )
    more = f"<p>And {len(errors) - _MOST_ERRORS} more.</p>" if len(errors) > _MOST_ERRORS else ""
    yield (
        f'<details class="card errors"{" open" if len(errors) <= 5 else ""}><summary>'
        f"{counted(len(errors), 'recording')} could not be used</summary>"
        f"<table><tr><th>recording</th><th>reason</th></tr>{rows}</table>{more}</details>"
    )


def _write_picture(path: Path, jpeg: bytes) -> None:
    """Write a picture, whose name is the digest of its content, unless it exists."""
    try:
        if path.exists() and path.stat().st_size == len(jpeg):
            return
        beside = path.with_name(unfinished_name(path))
        try:
            beside.write_bytes(jpeg)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def _remove_others(pictures: Path, kept: set[str]) -> None:
    """Remove pictures of an earlier page, and unfinished ones; other files stay."""
    remove_unfinished(pictures)
    try:
        for path in pictures.iterdir():
            if path.name not in kept and _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(pictures, error) from error
