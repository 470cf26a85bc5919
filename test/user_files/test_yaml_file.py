"""YAML of users: what values mean, and that anything else ends in one sentence with the line."""

import os

import pytest
import yaml

from stride_ros.errors import ConfigError, SourceError
from stride_ros.user_files.yaml_file import LARGEST, parse_yaml, plain, read_yaml


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request, monkeypatch):
    """Both parsers of PyYAML: the fast one is missing from some installations."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML was built without libyaml")


def value(text):
    return plain(parse_yaml(text, "x.yaml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a: 1", {"a": 1}),
        ("a: 1e-05", {"a": 1e-5}),  # as JSON and C++ programs write it
        ("a: '1e3'", {"a": "1e3"}),
        ("a: !!str 1e3", {"a": "1e3"}),
        ("a: 2026-11-27", {"a": "2026-11-27"}),
        ("a: 2026-13-45", {"a": "2026-13-45"}),
        ("a: 2026-02-30 25:61:61", {"a": "2026-02-30 25:61:61"}),
        ("a: [yes, ~, 1:30, .5]", {"a": [True, None, 90, 0.5]}),
        ("on: 1\n5: 2", {"on": 1, "5": 2}),
        ("- &q text\n- *q", ["text", "text"]),
        ("- &d {a: 1, b: 2}\n- {<<: *d, b: 3}", [{"a": 1, "b": 2}, {"a": 1, "b": 3}]),
        ("- {<<: [{a: 1}, {a: 2, b: 2}]}", [{"a": 1, "b": 2}]),
    ],
)
def test_values_are_what_is_written(text, expected):
    assert value(text) == expected


LAUGHS = "- &z0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"- &z{i} [{','.join([f'*z{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: [", "x.yaml is not YAML at line 2|x.yaml is not YAML at line 3"),
        ("a: 1\n---\nb: 2", "a second document at line 2"),
        ("a:\n - " + "[" * 5000, "more than 64 levels of nesting at line 2"),
        ("- " * 5000 + "a", "more than 64 levels"),
        ("{a: " * 5000, "more than 64 levels"),
        ("a: 1\nb: &b [1, *b]", "which holds itself, at line 2"),
        ("a: &b {c: {d: *b}}", "which holds itself, at line 1"),
        ("a: 1\nb: *c", r"\*c.* line 2"),
        (LAUGHS, "more than 200,000 values at line 6"),
        ("[" + "1," * 200_001 + "]", "more than 200,000 values"),
        ("a: 1\nb: 1\na: 2", "a is given twice, again at line 3"),
        ("a: 1\nb: !!int zz", "line 2 has 'zz', which is not a number"),
        ("a: !!float x", "line 1 has 'x', which is not a number"),
        ("a: !!int ''", "line 1 has '', which is not a number"),
        ("a: !!bool 7", "line 1 has '7', which is not true or false"),
        ("a: " + "9" * 5000, "line 1 has '9999.*, which is not a number"),
        ("a: 0x" + "f" * 5000, "which is not a number"),
        ("a: " + "1:" * 5000 + "1", "which is not a number"),
        ("a: 99999999999999999999", "line 1 has an integer of more than 64 bits"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []", "line 2 has the tag !!python"),
        ("a: !camera x", "line 1 has the tag !camera"),
        ("a: !!binary aGk=", "line 1 has the tag !!binary"),
        ("a: !!set {b, c}", "line 1 has the tag !!set"),
        ("? [1, 2]\n: 3", "line 1 has a key that is not text"),
        ("? {a: 1}\n: 3", "line 1 has a key that is not text"),
        ("<<: 5", "<< at line 1 does not merge a mapping"),
        ("a: 1\nb: \x1b[31m", r"control character U\+001B in line 2"),
        ("%YAML 9.9\n---\na: 1", "is not YAML"),
        (f"%YAML 1.{'1' * 5000}\n---\na: 1", "is not YAML"),
        ('a: "\\UFFFFFFFF"', "is not YAML"),
        ("\t- a", "is not YAML"),
        ("a: \udcff", "x.yaml"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        value(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a: Tür".encode("latin-1"), r"is not UTF-8: line 1 holds the byte 0xfc \(perhaps Latin-1\)"),
        ("a: 1\nb: “Tür”".encode("cp1252"), r"line 2 holds the byte 0x93 \(perhaps Windows-1252\)"),
        ("a: 1".encode("utf-16"), "is UTF-16 and not UTF-8; save it as UTF-8"),
        ("a: a longer text".encode("utf-16-le"), "is UTF-16 and not UTF-8"),
        ("a: a longer text".encode("utf-16-be"), "is UTF-16 and not UTF-8"),
        ("a: 1".encode("utf-32"), "is UTF-32 and not UTF-8"),
        (b"a: 1\nb: \0", "not a text file .a zero byte in line 2"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file|not UTF-8"),
        (b"a" * (LARGEST + 1), "is larger than 4 MiB"),
    ],
)
def test_a_file_that_is_no_utf8_text_says_what_it_is(tmp_path, data, said):
    file = tmp_path / "x.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=said) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)


def test_a_byte_order_mark_of_utf8_is_left_out(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: T\xc3\xbcr\r\n")
    assert plain(read_yaml(tmp_path / "x.yaml")) == {"a": 1, "b": "Tür"}


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "a directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / ("n" * 300), "File name too long"),
        ("/dev/zero", "not a regular file"),
    ):
        with pytest.raises(SourceError, match=said):
            read_yaml(path)


def test_a_pipe_of_the_shell_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"a: 1\n")
    os.close(writing)
    try:
        assert plain(read_yaml(f"/dev/fd/{reading}")) == {"a": 1}
    finally:
        os.close(reading)
