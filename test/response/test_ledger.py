"""The ledger remembers answered onsets, also across processes."""

from __future__ import annotations

import pytest

from stride_ros.response.ledger import Ledger


def test_what_was_added_is_known_to_the_next_process(tmp_path):
    path = tmp_path / "deep" / "ledger"
    first = Ledger(path)
    first.add((123, 1))
    assert (123, 1) in first
    again = Ledger(path)
    assert (123, 1) in again
    assert (123, 2) not in again


def test_only_the_last_ones_are_kept_and_the_file_stays_small(tmp_path):
    path = tmp_path / "ledger"
    ledger = Ledger(path, size=10)
    for number in range(100):
        ledger.add((number, number))
    assert len(path.read_text().splitlines()) <= 20
    again = Ledger(path, size=10)
    assert (99, 99) in again
    assert (89, 89) not in again


@pytest.mark.parametrize("content", [b"rubbish\n1 2 3\n", b"\xff\xfe\x00"])
def test_a_damaged_file_counts_as_empty(tmp_path, content):
    path = tmp_path / "ledger"
    path.write_bytes(content)
    ledger = Ledger(path)
    ledger.add((1, 1))
    assert (1, 1) in Ledger(path)


@pytest.mark.parametrize("line", [b"99", b"\xff", b"3 x", b""])
def test_a_damaged_line_costs_only_itself(tmp_path, line):
    path = tmp_path / "ledger"
    path.write_bytes(b"1 1\n" + line + b"\n2 2\n")
    for ledger in (Ledger(path), Ledger(path)):  # also in the file that the first one left
        assert (1, 1) in ledger
        assert (2, 2) in ledger


def test_without_a_place_to_write_it_works_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "ledger")
    assert ledger.problem
    ledger.add((1, 1))
    assert (1, 1) in ledger


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Ledger().add((1, 1))
    assert list(tmp_path.iterdir()) == []
