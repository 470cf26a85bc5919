"""Answered onsets are remembered, also across processes."""

from __future__ import annotations

import pytest

from stride_ros.response.known_onsets import KnownOnsets


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
