"""Answered onsets are remembered, also across processes."""

from __future__ import annotations

import os

import pytest

from stride_ros.response.commentary import SpanReport, SpanState
from stride_ros.response.known_onsets import KnownOnsets

REPORT = SpanReport(SpanState.ONSET, 7, "the cup \n\u2028 \U0001f600", 1, 2, 3, watch="cup", published=5)


def test_what_was_added_is_known_to_the_next_process(tmp_path):
    path = tmp_path / "deep" / "answered"
    first = KnownOnsets(path)
    first.add((123, 1))
    assert (123, 1) in first
    again = KnownOnsets(path)
    assert (123, 1) in again
    assert (123, 2) not in again


def test_only_the_last_ones_are_kept_and_the_file_stays_small(tmp_path):
    path = tmp_path / "answered"
    answered = KnownOnsets(path, size=10)
    for number in range(100):
        answered.add((number, number))
    assert len(path.read_text().splitlines()) <= 40
    again = KnownOnsets(path, size=10)
    assert (99, 99) in again
    assert (89, 89) not in again


@pytest.mark.parametrize("content", [b"rubbish\n1 2 3\n", b"\xff\xfe\x00"])
def test_a_damaged_file_counts_as_empty(tmp_path, content):
    path = tmp_path / "answered"
    path.write_bytes(content)
    answered = KnownOnsets(path)
    answered.add((1, 1))
    assert (1, 1) in KnownOnsets(path)


@pytest.mark.parametrize("line", [b"99", b"\xff", b"3 x", b""])
def test_a_damaged_line_costs_only_itself(tmp_path, line):
    path = tmp_path / "answered"
    path.write_bytes(b"1 1\n" + line + b"\n2 2\n")
    for answered in (KnownOnsets(path), KnownOnsets(path)):  # also in the file that the first one left
        assert (1, 1) in answered
        assert (2, 2) in answered


def test_without_a_place_to_write_it_works_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    answered = KnownOnsets(tmp_path / "file" / "answered")
    assert answered.problem
    answered.add((1, 1))
    assert (1, 1) in answered


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    KnownOnsets().add((1, 1))
    assert list(tmp_path.iterdir()) == []


def test_what_is_owed_is_known_to_the_next_process_until_it_is_answered(tmp_path):
    first = KnownOnsets(tmp_path / "answered")
    first.owe((5, 7), REPORT)
    again = KnownOnsets(tmp_path / "answered")
    assert again.owed() == [((5, 7), REPORT)]
    assert (5, 7) in again
    assert again.has_span(7)
    again.publishing((5, 7))
    again.add((5, 7))
    assert KnownOnsets(tmp_path / "answered").owed() == []
    assert KnownOnsets(tmp_path / "answered").uncertain == ()


def test_what_was_being_published_at_the_end_is_told_once_and_stays_known(tmp_path):
    first = KnownOnsets(tmp_path / "answered")
    first.owe((5, 7), REPORT)
    first.publishing((5, 7))
    assert KnownOnsets(tmp_path / "answered").uncertain == ((5, 7),)
    last = KnownOnsets(tmp_path / "answered")
    assert (last.uncertain, last.owed()) == ((), [])
    assert (5, 7) in last


def test_a_line_that_was_cut_off_at_any_place_costs_only_itself(tmp_path):
    path = tmp_path / "answered"
    first = KnownOnsets(path)
    first.add((111, 1))
    first.owe((555, 7), REPORT)
    whole = path.read_bytes()
    for length in range(whole.index(b"555"), len(whole)):
        path.write_bytes(whole[:length])
        cut = KnownOnsets(path)
        cut.add((222, 2))
        again = KnownOnsets(path)
        assert (111, 1) in again
        assert (222, 2) in again
        assert [span for span in range(1000) if again.has_span(span)] == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        ('"stamp": 3', '"stamp": "3"'),
        ('"stamp": 3', f'"stamp": {1 << 62}'),
        ('"state": 0', '"state": 9'),
        ('"watch": "cup", ', ""),
        ('"respond": true', '"respond": 1'),
        ("{", "[" * 100_000),
        ("owed", "forgotten"),
        ("5 7", "-5 7"),
        ("5 7", f"{10**30} 7"),
        ("5 7", f"5 {1 << 64}"),
        ('"span_id": 7', '"span_id": 8'),
        ('"published": 5', '"published": 6'),
        ('"watch": "cup"', '"watch": "\\ud83d"'),
        ('"watch": "cup"', '"watch": "a\\u0000b"'),
        ('"watch": "cup"', f'"watch": "{"x" * 100_000}"'),
    ],
)
def test_somebody_elses_line_is_none(tmp_path, change):
    path = tmp_path / "answered"
    KnownOnsets(path).owe((5, 7), REPORT)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change) + "1 1\n")
    known = KnownOnsets(path)
    assert known.owed() == []
    assert not known.has_span(7)
    assert (1, 1) in known


def test_of_a_huge_file_the_end_counts(tmp_path):
    path = tmp_path / "answered"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n1 1\n")
    assert (1, 1) in KnownOnsets(path)
    assert path.stat().st_size < 1000


@pytest.mark.parametrize("kind", ["FIFO", "folder", "link", "link to a device"])
def test_what_is_no_file_is_left_alone_with_the_remedy(tmp_path, kind):
    path, target = tmp_path / "answered", tmp_path / "target"
    target.write_text("precious\n")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(target if kind == "link" else "/dev/zero")
    before = path.lstat().st_mode
    known = KnownOnsets(path)
    known.add((1, 1))
    assert (1, 1) in known
    assert str(path) in known.problem
    assert known.problem.endswith("; remove it.")
    assert path.lstat().st_mode == before
    assert target.read_text() == "precious\n"
    path.rmdir() if kind == "folder" else path.unlink()
    known.add((2, 2))
    assert known.problem == ""
    again = KnownOnsets(path)
    assert (1, 1) in again
    assert (2, 2) in again


def test_no_link_that_lies_in_wait_is_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    for name in (f"answered.{os.getpid()}", "answered.new", "answered.tmp"):
        (tmp_path / name).symlink_to(target)
    KnownOnsets(tmp_path / "answered").add((1, 1))
    assert target.read_text() == "precious"


def test_another_name_of_a_file_is_not_written_to(tmp_path):
    path, target = tmp_path / "answered", tmp_path / "target"
    known = KnownOnsets(path)
    target.write_text("precious\n")
    path.unlink()
    os.link(target, path)
    known.add((1, 1))
    assert (target.read_text(), known.problem) == ("precious\n", "")
    assert (1, 1) in KnownOnsets(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of another user")
def test_another_users_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "stride_ros"
    folder.symlink_to(tmp_path / "elsewhere")
    assert KnownOnsets(folder / "answered").problem == "", "one's own may be"
    (tmp_path / "elsewhere" / "answered").unlink()
    os.lchown(folder, 12345, 12345)
    known = KnownOnsets(folder / "answered")
    known.add((1, 1))
    assert "its folder is another user's symbolic link" in known.problem
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_two_processes_of_one_name_lose_nothing_that_they_appended(tmp_path):
    path = tmp_path / "answered"
    first, second = KnownOnsets(path), KnownOnsets(path)
    for number in range(100):
        (first if number % 2 else second).add((number, number))
    known = KnownOnsets(path)
    assert all((number, number) in known for number in range(100))


def test_a_file_that_a_killed_process_left_half_written_goes(tmp_path):
    old, new = tmp_path / "answered.abc.new", tmp_path / "answered.def.new"
    for path in (old, new):
        path.write_text("1 1\n")
    os.utime(old, (0, 0))
    KnownOnsets(tmp_path / "answered")
    assert not old.exists()
    assert new.exists(), "somebody may be writing it"


def test_a_folder_that_cannot_be_written_for_a_while_is_told_and_used_again(tmp_path):
    folder = tmp_path / "home"
    known = KnownOnsets(folder / "answered")
    known.add((1, 1))
    folder.rename(tmp_path / "away")
    folder.write_text("")
    known.add((2, 2))
    assert "set ROS_HOME to a writable folder" in known.problem
    assert len(known.problem.splitlines()) == 1
    folder.unlink()
    known.add((3, 3))
    assert known.problem == ""
    again = KnownOnsets(folder / "answered")
    assert all((number, number) in again for number in (1, 2, 3))
