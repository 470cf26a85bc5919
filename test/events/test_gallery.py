"""The gallery: what was found as a page, small enough to be opened, filtered and sorted in a browser."""

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from stride_ros.errors import SourceError
from stride_ros.events.gallery import MAX_BYTES, write_gallery
from stride_ros.events.record import OFFSET, OPEN, RETRACTED, Event

SECOND = 10**9
QUERIES = ("Tell me when a person appears.", "Tell me when the door opens.")


def event(number, **others):
    first = 1_700_000_000 * SECOND + number // 20 * 3600 * SECOND
    usual = {
        "key": f"bag/{number}",
        "span_id": number % 20 + 1,
        "watch": "query_1",
        "camera": "",
        "query": QUERIES[number % 2],
        "origin": f"drives/monday/lobby_{number // 20:04}",
        "start_ns": first + number % 20 * 30 * SECOND,
        "end_ns": first + (number % 20 * 30 + 4) * SECOND,
        "confidence": (number * 37 % 100) / 100,
        "state": OFFSET,
        "first_ns": first,
        "sentence": f"A person in a red jacket, number {number}, walks to the open door and waits.",
        "has_picture": True,
    }
    return Event(**{**usual, **others})


def jpeg(event):
    """A picture of its own for each event."""
    picture = np.full((100, 160, 3), 200, np.uint8)
    hue = zlib_hue(event.key)
    picture[20:80, 40:120] = hue
    cv2.putText(picture, event.key[-8:], (8, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def zlib_hue(text):
    value = sum(map(ord, text)) * 7919
    return value % 256, value // 256 % 256, 128


def gallery(folder, events, picture=jpeg, **others):
    return write_gallery(folder, events, picture, title="What was found", lead="2 queries", **others)


def data(index):
    found = re.search(r'id="data">(.*?)</script>', index.read_text(), re.DOTALL)
    return json.loads(found[1])


def test_a_page_holds_each_event_with_its_picture(tmp_path):
    index = gallery(tmp_path / "new" / "folder", [event(0), event(1)])
    written = data(index)
    assert index == tmp_path / "new" / "folder" / "index.html"
    assert [written["queries"][row[0]] for row in written["events"]] == list(QUERIES)
    assert [row[3:5] for row in written["events"]] == [[0, 4], [30, 34]]
    for row, shown in zip(written["events"], (event(0), event(1)), strict=True):
        assert (index.parent / "pictures" / f"{row[10]}.jpg").read_bytes() == jpeg(shown)


def test_pictures_of_an_earlier_page_go_and_files_of_others_stay(tmp_path):
    gallery(tmp_path, [event(0), event(1)])
    (tmp_path / "pictures" / "mine.jpg").write_bytes(b"mine")
    gallery(tmp_path, [event(1)])
    kept = {path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert kept == {jpeg(event(1)), b"mine"}


def test_a_picture_that_was_cut_off_is_written_again(tmp_path):
    index = gallery(tmp_path, [event(0)])
    picture = tmp_path / "pictures" / f"{data(index)['events'][0][10]}.jpg"
    picture.write_bytes(b"")
    gallery(tmp_path, [event(0)])
    assert picture.read_bytes() == jpeg(event(0))


def test_no_text_gets_out_of_its_place(tmp_path):
    text = "</script><script>document.title = 'taken'</script><!-- \u202e"
    index = gallery(tmp_path, [event(0, sentence=text, query=text, origin=text)], errors=[(text, text)])
    html = index.read_text()
    assert html.count("<script") == html.count("</script>") == 2
    assert "\u202e" not in html
    assert data(index)["events"][0][9].startswith("</script>")


def test_nothing_is_fetched_from_elsewhere(tmp_path):
    html = gallery(tmp_path, [event(0)]).read_text()
    assert not re.search(r"https?://|url\((?!data:)|@import|src=\"(?!pictures)", html)


@pytest.mark.parametrize("text", ["sentence", "origin", "query"])
def test_what_has_no_room_is_counted(tmp_path, text):
    many = (event(number, **{text: f"{number} " + "long " * 200}) for number in range(30_000))
    index = gallery(tmp_path, many, lambda event: None)
    written = data(index)
    assert MAX_BYTES < index.stat().st_size < 10_000_000
    assert f"{30_000 - len(written['events'])} further events" in index.read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"file.* cannot be written"):
        gallery(tmp_path / "file", [event(0)])


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1200])
def test_ten_thousand_events_open_filter_and_sort_in_a_browser(open_page, width, tmp_path):
    command = "stride-ros replay {0} --query '{1}' --start 20 --duration 12".format
    index = gallery(
        tmp_path,
        (event(number) for number in range(10_000)),
        errors=[("drives/monday/broken.mcap", "drives/monday/broken.mcap cannot be read: it is empty.")],
        command=lambda event: command(event.origin, event.query),
    )
    assert index.stat().st_size < 10_000_000
    page = open_page(index, width)
    tiles = "document.querySelectorAll('#tiles article').length"
    assert 0 < page.evaluate(tiles) < 500  # the rest comes as it is scrolled to
    assert page.evaluate("find('count').textContent") == "10,000 of 10,000 events"
    assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    loaded = "[...document.querySelectorAll('#tiles img')].filter(i => i.complete && i.naturalWidth).length"
    page.await_true(f"{loaded} > 0")
    assert page.evaluate(loaded) < 500
    shown = page.evaluate("[...document.querySelectorAll('#tiles article')].map(t => t.innerText)")
    assert all("confidence 0.99" in text for text in shown)

    def choose(name, value):
        page.evaluate(f"(find('{name}').value = '{value}', find('{name}').onchange())")

    before = page.evaluate(tiles)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.await_true(f"{tiles} > {before}")
    page.evaluate("window.scrollTo(0, 0)")
    choose("query", "1")
    assert page.evaluate("find('count').textContent") == "5,000 of 10,000 events"
    choose("origin", "3")
    assert page.evaluate("find('count').textContent") == "10 of 10,000 events"
    choose("order", "oldest")
    times = page.evaluate("[...document.querySelectorAll('#tiles .when')].map(e => e.textContent)")
    assert times[:2] == ["0:30.0 to 0:34.0", "1:30.0 to 1:34.0"]
    assert page.evaluate("document.querySelector('#tiles code').textContent") == command(
        "drives/monday/lobby_0003", QUERIES[1]
    )
    page.evaluate("(find('text').value = 'JACKET 61', find('text').oninput())")
    assert page.evaluate(tiles) == 1
    assert "broken.mcap cannot be read" in page.evaluate("document.querySelector('.errors').innerText")


@pytest.mark.slow
def test_all_events_are_printed_and_found_without_their_accents(open_page, tmp_path):
    events = [event(number, sentence="\u0397 πόρτα" if number < 2 else "El niño") for number in range(150)]
    page = open_page(gallery(tmp_path, events, lambda event: None), 800)
    tiles = "document.querySelectorAll('#tiles article').length"
    for text, number in (("NINO", 148), ("πορτα η", 2), ("", 150)):
        page.evaluate(f"(find('text').value = '{text}', find('text').oninput())")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(tiles) == number


@pytest.mark.slow
def test_the_state_of_an_event_is_said(open_page, tmp_path):
    events = [
        event(0, end_ns=None, state=OPEN),
        event(1, state=RETRACTED),
        event(3, state=OPEN),
        replace(event(2), camera="front", sentence=""),
    ]
    page = open_page(gallery(tmp_path, events, lambda event: None), 800)
    texts = page.evaluate("(find('order').value = 'oldest', choose(), tiles.innerText)")
    assert "0:00.0, still going on" in texts
    assert "retracted as a false alarm" in texts
    assert "front · confidence" in texts
    assert texts.count("no picture") == 4
    assert texts.count("not seen to end") == 1, "not of the one that goes on"
    said = page.evaluate("[...document.querySelectorAll('#tiles q')].map(e => e.textContent)")
    assert said[2] == QUERIES[0], "the query stands where nothing was said"
    assert page.evaluate("tiles.children[2].querySelectorAll('.facts').length") == 2


def test_an_event_of_a_robot_has_its_date_and_its_length(open_page, tmp_path):
    first = event(0).start_ns
    events = [event(0, first_ns=None), event(1, first_ns=None, state=OPEN, end_ns=None, start_ns=first)]
    page = open_page(gallery(tmp_path, events, lambda event: None), 800)
    texts = page.evaluate("document.getElementById('tiles').innerText")
    assert "2023-11-14 22:13:20 UTC, 4.0 s" in texts
    assert "2023-11-14 22:13:20 UTC, still going on" in texts


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 400, 500, 1200])
def test_what_the_filters_say_is_not_clipped(open_page, width, tmp_path):
    page = open_page(gallery(tmp_path, [event(0), event(1)]), width)
    fields = page.evaluate("document.querySelectorAll('.bar select, .bar input').length")
    room = """[...document.querySelectorAll('.bar select, .bar input')].map(field => {
      const style = getComputedStyle(field), pen = document.createElement('canvas').getContext('2d');
      pen.font = style.font;
      const texts = field.id === 'text' ? [field.placeholder] : field.id === 'order'
        ? [...field.options].map(option => option.text) : [field.options[0].text];
      const arrow = field.id === 'text' ? 0 : 20;
      const wide = Math.max(...texts.map(text => pen.measureText(text).width));
      const edges = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight) + arrow;
      return field.clientWidth - edges - wide;
    })"""
    found = page.evaluate(room)
    assert len(found) == fields == 4
    assert min(found) >= 0, found


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_every_text_of_a_page_can_be_told_from_what_is_behind_it(open_page, dark, tmp_path):
    events = [event(0), event(1, state=RETRACTED), replace(event(2), sentence="")]
    errors = [("a.mcap", "a.mcap cannot be read: it is empty.")]
    command = "stride-ros replay {0.origin}".format
    index = gallery(tmp_path, events, lambda event: None, errors=errors, command=command)
    page = open_page(index, 500, dark)
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    contrast, text = page.faintest()
    assert contrast >= 4.5, text
    placeholder = "getComputedStyle(find('text'), '::placeholder').color"
    assert page.evaluate(placeholder) == page.evaluate("getComputedStyle(find('count')).color")


def test_an_error_with_a_long_reason_leaves_the_name_in_one_piece(open_page, tmp_path):
    errors = [("drives/monday/broken.mcap", "It cannot be read, " * 20)]
    page = open_page(gallery(tmp_path, [event(0)], errors=errors), 1200)
    cell = "document.querySelector('.errors td')"
    lines = f"(() => {{ const r = document.createRange(); r.selectNodeContents({cell}); return "
    assert page.evaluate(f"{lines}r.getClientRects().length; }})()") == 1


def test_a_page_of_somebody_else_is_not_replaced(tmp_path):
    write_gallery(tmp_path, [], lambda event: None, title="A", lead="B")
    write_gallery(tmp_path, [], lambda event: None, title="C", lead="D")  # its own page may be
    index = tmp_path / "index.html"
    index.write_text("<h1>Precious</h1>")
    with pytest.raises(SourceError, match="is not a page of events; choose another folder"):
        write_gallery(tmp_path, [], lambda event: None, title="E", lead="F")
    assert index.read_text() == "<h1>Precious</h1>"
