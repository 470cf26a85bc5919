"""Thoughts are not spoken."""

from __future__ import annotations

import pytest

from stride_ros.response.reasoning import without_reasoning

ANSWERS = [
    ("A cup falls.", False, "A cup falls."),
    ("<think>It moves.</think>A cup falls.", False, "A cup falls."),
    ("\n<think>\nIt moves.\n</think>\n\nA cup falls.", False, "A cup falls."),
    ("It moves.</think>\n\nA cup falls.", True, "A cup falls."),
    ("<think>It never ends", False, ""),
    ("It never ends", True, ""),
    ("<thin air> is what I see", False, "<thin air> is what I see"),
    ("<thi", False, "<thi"),
    ("I say </think> aloud", False, "I say </think> aloud"),
    ("", False, ""),
]


@pytest.mark.parametrize(("text", "thinking", "said"), ANSWERS)
@pytest.mark.parametrize("length", [1, 3, 1000])
def test_only_the_answer_remains_however_it_is_cut(text, thinking, said, length):
    pieces = [text[start : start + length] for start in range(0, len(text), length)]
    assert "".join(without_reasoning(iter(pieces), thinking)).strip() == said


def test_an_answer_without_reasoning_is_not_held_back():
    assert next(without_reasoning(iter(["A", "B"]))) == "A"


def test_what_follows_the_thoughts_comes_piece_by_piece():
    pieces = ["<think>", "hm", "</think>", "\n\n", "A ", "cup"]
    assert list(without_reasoning(iter(pieces)))[-2:] == ["A ", "cup"]
