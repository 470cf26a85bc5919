"""Events are found by words of any language, time, camera, watch, origin and confidence, newest first."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from stride_ros.errors import ConfigError
from stride_ros.events.log import EventLog
from stride_ros.events.record import RETRACTED
from stride_ros.events.search import EventReader, Search
from stride_ros.events.words import indexed

from .conftest import BASE, SECOND, make

SENTENCES = (
    "A person walks into the room.",
    "Two persons carry a BOX past bay17.",
    "El niño abrió la puerta.",
    "Die Straße ist naß.",
    "人がドアを開ける",
    "คนเดินเข้าห้อง",
    "사람이 문을 열었다",
    "कमरा ख़ाली है",
    'Says "stop" NOT OR AND (now) 50% _x_',
    "Человек ёлка",
)


@pytest.fixture
def reader(log, path):
    for number, sentence in enumerate(SENTENCES):
        log.put(make(number, sentence, query="Look."))
    log.commit()
    with EventReader(path) as reader:
        yield reader


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("person", [0]),
        ("person*", [1, 0]),
        ("PERSON room", [0]),
        ("person box", []),
        ("pers* walk*", [0]),
        ('"walks into"', [0]),
        ('"into walks"', []),
        ('"walks in"*', [0]),
        ('"look a person"', []),  # a phrase does not go on from the query to the sentence
        ("“walks into”", [0]),
        ('"walks into', [0]),
        ("look person", [0]),
        ("box", [1]),
        ("bay17", [1]),
        ("bay*", [1]),
        ("bay1*", [1]),
        ("bay18", []),
        ("nino", [2]),
        ("NIÑO abrio", [2]),
        ("strasse", [3]),
        ("人", [4]),
        ("ドア", [4]),
        ("人が", [4]),
        ("が人", []),
        ("ド*", [4]),
        ("เดิน", [5]),
        ("คน", [5]),
        ("사람", [6]),
        ("람", [6]),
        ("कमरा", [7]),
        ("कम*", [7]),
        ("stop AND NOT", [8]),
        ("person OR box", []),
        ("(now)", [8]),
        ("50%", [8]),
        ("человек", [9]),
        ("c1", []),  # words of the index's own
        ("retracted", []),
        ("query : look", []),
    ],
)
def test_words_phrases_and_prefixes(reader, text, numbers):
    found = reader.find(Search(text))
    assert [event.span_id for event in found.events] == numbers
    assert found.total == len(numbers)


@pytest.mark.parametrize("text", ["*", '""', "- + *", "\u0301", "☎\ufe0f", "x" * 1001, "a " * 33])
def test_a_text_that_cannot_be_asked_is_refused_in_one_sentence(reader, text):
    with pytest.raises(ConfigError, match="give"):
        reader.find(Search(text))


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("\u0397 πόρτα άνοιξε.", "ΠΟΡΤΑ ανοιξε"),
        ("ΟΔΟΣ", "οδός"),
        ("Ἀθῆναι", "αθηναι"),
        ("Человек ёлка", "елка"),
        ("Человек елка", "Ёлка"),
        ("مُحَمَّد يفتح الباب", "محمد"),
        ("أحمد", "احمد"),
        ("مـحـمـد", "محمد"),
        ("שָׁלוֹם", "שלום"),
        ("I\u015f\u0131k yand\u0131", "IŞIK"),
        ("İstanbul", "istanbul"),
        ("łóżko", "lozko"),
        ("Đường Ørn œuf", "duong orn oeuf"),
        ("nai\u0308ve", "naïve"),
        ("x\u030cy", "xy"),
        ("door\u00adway", "doorway"),
        ("\uff22\uff21\uff39\uff11\uff17", "bay17"),
        ("カ\u3099ラス", "ガラス"),
        ("ｶﾞﾗｽ", "ガラス"),
        ("한국", "\u1112\u1161\u11ab국"),
        ("A person.", "person \u0301"),
        ("Take the ❤\ufe0f box", "box❤"),
    ],
)
def test_case_accents_and_width_make_no_difference(log, path, sentence, text):
    log.put(make(0, sentence, query="Look."))
    log.commit()
    with EventReader(path) as reader:
        assert reader.find(Search(text)).total == 1


@pytest.mark.parametrize(("sentence", "text"), [("ガラス", "カラス"), ("कि", "का"), ("ที่", "ที้")])
def test_marks_that_make_another_letter_make_a_difference(log, path, sentence, text):
    log.put(make(0, sentence, query="Look."))
    log.commit()
    with EventReader(path) as reader:
        assert reader.find(Search(text)).total == 0


def test_a_log_of_the_first_version_is_read_as_it_is_and_brought_up_to_date_by_its_writer(path):
    with EventLog(path) as log:
        log.put(make(0, "Человек ёлка, niño", query="Look."))
        log.put(make(1, "ёлка", query="Look."))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:  # as its index was
        file.execute("INSERT INTO words (words) VALUES ('delete-all')")
        for row, sentence in file.execute("SELECT id, sentence FROM contents").fetchall():
            texts = [indexed(text, folded=False) for text in ("Look.", sentence)]
            file.execute(
                "INSERT INTO words (rowid, query, sentence, marks) VALUES (?, ?, ?, 'c2 w1 o4')",
                (row, *texts),
            )
        file.execute("PRAGMA user_version = 1")
    with EventReader(path) as reader:
        assert reader.find(Search("ёлка nino")).total == 1
        assert reader.find(Search("елка")).total == 0
    with EventLog(path) as log:
        log.put(make(1, "ёлка", query="Look.", state=RETRACTED))
    with EventReader(path) as reader:
        for text in ("елка", "Ёлка", "nino", "look"):
            assert [event.span_id for event in reader.find(Search(text, cameras=["front"])).events] == [0]


def test_a_confidence_counts_with_the_digits_that_are_shown(log, path):
    for number, confidence in enumerate((0.699999988079071, 0.7, 0.69994)):  # the first as in a message
        log.put(make(number, "person", confidence=confidence))
    log.commit()
    with EventReader(path) as reader:
        for text in ("", "person"):
            for least in (0.7, 0.699999988079071):
                found = reader.find(Search(text, min_confidence=least))
                assert [event.span_id for event in found.events] == [1, 0]


def test_everything_is_found_without_a_text_newest_first(reader):
    found = reader.find(Search(limit=3))
    assert ([event.span_id for event in found.events], found.total) == ([9, 8, 7], len(SENTENCES))
    assert reader.find(Search(limit=0)).total == len(SENTENCES)
    assert len(reader.find(Search(limit=None)).events) == len(SENTENCES)


@pytest.fixture
def mixed(log, path):
    for number in range(40):
        log.put(
            make(
                number,
                f"person {number}",
                camera=("front", "left")[number % 2],
                watch=("door", "box", "c2")[number % 3],
                origin=f"bag{number // 10}",
                confidence=number / 40,
                start_ns=BASE + number // 2 * SECOND,
                state=RETRACTED if number == 39 else "offset",
            )
        )
    log.commit()
    with EventReader(path) as reader:
        yield reader


FILTERS = (
    ({"cameras": ["left"]}, lambda n: n % 2 == 1),
    ({"cameras": ["left", "front"]}, lambda n: True),
    ({"cameras": ["rear"]}, lambda n: False),
    ({"cameras": ["rear", "left"]}, lambda n: n % 2 == 1),
    ({"watches": ["c2"]}, lambda n: n % 3 == 2),
    ({"origins": ["bag1", "bag3"]}, lambda n: n // 10 in (1, 3)),
    ({"origins": [*(f"x{i}" for i in range(99)), "bag1"]}, lambda n: n // 10 == 1),
    ({"since_ns": BASE + 5 * SECOND}, lambda n: n // 2 >= 5),
    ({"since_ns": BASE + 5 * SECOND + 1}, lambda n: n // 2 >= 6),
    ({"until_ns": BASE + 5 * SECOND}, lambda n: n // 2 <= 5),
    ({"until_ns": BASE + 5 * SECOND - 1}, lambda n: n // 2 <= 4),
    ({"since_ns": BASE + SECOND, "until_ns": BASE + 2 * SECOND, "cameras": ["front"]}, lambda n: n in (2, 4)),
    ({"min_confidence": 0.5}, lambda n: n >= 20),
    ({"min_confidence": 0.5, "watches": ["door"], "origins": ["bag2"]}, lambda n: n in (21, 24, 27)),
)


@pytest.mark.parametrize("text", ["", "person", "p*"])
@pytest.mark.parametrize(("given", "expected"), FILTERS)
def test_filters_go_with_and_without_a_text(mixed, text, given, expected):
    found = mixed.find(Search(text, limit=None, **given))
    wanted = {number for number in range(39) if expected(number)}
    assert {event.span_id for event in found.events} == wanted
    assert found.total == len(wanted)
    starts = [event.start_ns for event in found.events]
    assert starts == sorted(starts, reverse=True)


@pytest.mark.parametrize("text", ["", "person"])
def test_false_alarms_are_found_only_if_wanted(mixed, text):
    assert mixed.find(Search(text)).total == 39
    assert mixed.find(Search(text, retracted=True)).total == 40


@pytest.mark.parametrize(
    "given",
    [
        {"min_confidence": 1.5},
        {"min_confidence": float("nan")},
        {"limit": -1},
        {"since_ns": BASE + 1, "until_ns": BASE},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(given):
    with pytest.raises(ConfigError, match="cannot be"):
        Search(**given)
