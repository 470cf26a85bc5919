"""JSON of users: limits, and the line of what is wrong."""

import json

import pytest

from stride_ros.errors import ConfigError
from stride_ros.user_files.json_file import locate, parse_json, read_json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x.json is not JSON at line 1"),
        ('{"a":\n[1,]}', "x.json is not JSON at line 2"),
        ("[" * 100_000, "more than 64 levels of nesting at line 1"),
        ('{"a":' * 100_000, "more than 64 levels"),
        ("[" * 70, "more than 64 levels"),
        ("[\n" * 65 + "]" * 65, "more than 64 levels of nesting at line 65"),
        ('{"a": 1,\n "b": {"a": 1},\n "a": 2}', "the key 'a' twice at line 3"),
        ('[{"a": [1, {"c": 1,\n"c": 2}]}]', "the key 'c' twice at line 2"),
        ("[1,\nNaN]", "NaN, which is not a number at line 2"),
        ("[-Infinity]", "-Infinity, which is not a number at line 1"),
        ("[1,\n\n1e999]", "a number outside the range of floats at line 3"),
        ("[\n" + "9" * 5000 + "]", "an integer of more than 64 bits at line 2"),
        ("[" + "1," * 4_000_000 + "1]", "more than 4,000,000 values"),
        ('["\x01"]', "is not JSON at line 1"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse_json(text, "x.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_limit_of_depth_is_no_less_than_it_says():
    assert parse_json("[" * 64 + "]" * 64, "x.json")


def test_halves_of_pairs_stay_escapes_that_can_be_printed():
    text = r'["\ud83d\ude00", "a\udce4", "\\ud83d", "\ud83d", "\ude00\ud83d"]'
    value = parse_json(text, "x.json")
    assert value == ["\U0001f600", r"a\udce4", r"\ud83d", r"\ud83d", r"\ude00\ud83d"]
    "".join(value).encode()


def test_every_value_is_found_on_its_line():
    document = {
        "queries": [{"query": 'a, [b]: "{', "spans": [{"start": 1.0}, {"start": [[], {}]}]}],
        "z": None,
    }
    text = json.dumps(document, indent=1)
    lines = text.split("\n")
    for path, written in (
        (("queries", 0, "query"), '"query"'),
        (("queries", 0, "spans", 0, "start"), '"start": 1.0'),
        (("queries", 0, "spans", 1, "start"), '"start": ['),
        (("queries", 0, "spans", 1, "start", 1), "{}"),
        (("z",), '"z"'),
        (("queries", 0, "spans", 1, "end"), "{"),  # is not there: what should hold it
    ):
        assert written in lines[locate(text, path) - 1]


def test_a_file_in_another_encoding_is_named(tmp_path):
    file = tmp_path / "x.json"
    file.write_bytes('["Tür"]'.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"x\.json is UTF-16 and not UTF-8"):
        read_json(file)
    file.write_bytes(b'\xef\xbb\xbf["a\x7f"]')
    assert read_json(file)[0] == ["a\x7f"]
