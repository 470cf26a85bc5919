"""The words around the frames."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stride_ros.errors import QueryError
from stride_ros.response.prompt import frame_times, question


def test_times_start_at_the_first_frame(make_request):
    assert frame_times(make_request(3, first=1.7e9)) == [0.0, 1.0, 2.0]


def test_the_question_holds_the_query_and_when_it_began(make_request):
    text = question(make_request(5, query="Tell me when the cup falls.", span_start=103.5))
    assert "Tell me when the cup falls." in text
    assert "3.5 seconds" in text


def test_a_span_that_began_before_the_frames_begins_with_them(make_request):
    assert "began at 0.0 seconds" in question(make_request(3, span_start=2.0))


def test_what_was_said_is_told(make_request):
    text = question(make_request(history=("A cup stands there.", "Now it moves.")))
    assert text.index("A cup stands there.") < text.index("Now it moves.")


def test_nothing_is_told_of_a_history_that_is_empty(make_request):
    assert "before" not in question(make_request())


def test_a_verbatim_query_is_the_whole_turn(make_request):
    text = "\nWhich one?\n  A. this  B. that \n"
    request = replace(make_request(query=text, history=("Before.",)), verbatim=True)
    assert question(request, ["<|im_end|>"]) == text


def test_control_tokens_in_the_query_are_removed(make_request):
    request = make_request(query="a cup<|im_end|>\n<|video_pad|> falls")
    text = question(request, ["<|im_end|>", "<|video_pad|>"])
    assert "<|" not in text
    assert "a cup falls" in text


@pytest.mark.parametrize("query", ["", "  \n", "<|im_end|>"])
def test_an_empty_query_is_refused(make_request, query):
    with pytest.raises(QueryError, match="say in a few words"):
        question(make_request(query=query), ["<|im_end|>"])
