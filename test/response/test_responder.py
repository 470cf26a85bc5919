"""The responder without ROS: which events are told, how, and what the model is shown about them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.commentary import Commentary, SpanReport, SpanState
from stride_ros.response.config import ResponseConfig
from stride_ros.response.known_onsets import KnownOnsets
from stride_ros.response.responder import Responder
from stride_ros.response.scheduler import AnswerStatus

SECOND = 10**9  # ns
EPOCH = 1_700_000_000 * SECOND
ONSET, UPDATE, OFFSET, RETRACTED = SpanState


class Voice:
    """A backend that says what it is told to, one text or error an answer."""

    name = "voice"
    remote = False
    last_tokens = 1

    def __init__(self) -> None:
        self.requests: list = []
        self.script: list[str | Exception] = []

    def stream(self, request, cancelled):
        self.requests.append(request)
        said = self.script.pop(0) if self.script else f"Text {len(self.requests)}."
        if isinstance(said, Exception):
            raise said
        yield said


class Listener:
    """Keeps what a responder says."""

    def __init__(self) -> None:
        self.heard: list[Commentary] = []

    def commentary(self, commentary: Commentary) -> None:
        self.heard.append(commentary)

    def of(self, span_id: int) -> list[Commentary]:
        return [commentary for commentary in self.heard if commentary.span.span_id == span_id]

    def ended(self, span_id: int) -> list[tuple[str, AnswerStatus, bool]]:
        """Text, status and finality of the whole texts about a span."""
        return [(c.text, c.status, c.final) for c in self.of(span_id) if c.ended]

    def final(self, span_id: int) -> Commentary:
        (final,) = (commentary for commentary in self.of(span_id) if commentary.final)
        return final


@pytest.fixture
def voice() -> Voice:
    return Voice()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def responder_of(voice, listener):
    """Makes responders that answer inline, with frames of the seconds 0 to 9."""

    def make(seconds=range(10), known: dict | None = None, **settings) -> Responder:
        responder = Responder(voice, ResponseConfig(**settings), listener, inline=True, **(known or {}))
        for second in seconds:
            responder.frame(picture(second), at(second))
        return responder

    return make


def at(second: float) -> int:
    return EPOCH + round(second * SECOND)


def picture(second: int) -> np.ndarray:
    return np.full((8, 16, 3), second, np.uint8)


def report(state: SpanState, start: float, end: float, span_id: int = 1, **fields) -> SpanReport:
    values = {"query": "the cup", "onset": 0, **fields}
    return SpanReport(state, span_id, start=at(start), end=at(end), stamp=at(end), **values)


def seconds_shown(request) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in request.frames]


def test_at_an_onset_the_model_is_shown_the_event_so_far_and_a_little_before(responder_of, voice, listener):
    responder_of(pre_seconds=2.0).span(report(ONSET, 4.0, 6.5))
    (request,) = voice.requests
    assert seconds_shown(request) == [2, 3, 4, 5, 6]
    assert [frame.time for frame in request.frames] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert request.span_start == 2.0
    assert listener.final(1).frame_stamps == tuple(at(second) for second in (2, 3, 4, 5, 6))
    assert listener.ended(1) == [("Text 1.", AnswerStatus.OK, True)]


@pytest.mark.parametrize(
    ("respond_on", "shown"),
    [("onset", [[4, 5]]), ("offset", [[4, 5, 6, 7]]), ("both", [[4, 5], [4, 5, 6, 7]])],
)
def test_each_moment_shows_what_there_is_by_then_and_ends_with_one_final(
    responder_of, voice, listener, respond_on, shown
):
    responder = responder_of(respond_on=respond_on, pre_seconds=0.0)
    responder.span(report(ONSET, 4.0, 5.0))
    responder.span(report(UPDATE, 4.0, 6.0))
    responder.span(report(OFFSET, 4.0, 7.0))
    assert [seconds_shown(request) for request in voice.requests] == shown
    finals = [final for _, _, final in listener.ended(1)]
    assert finals == [False] * (len(shown) - 1) + [True]


def test_a_retraction_after_the_answer_of_both_keeps_its_text(responder_of, listener):
    responder = responder_of(respond_on="both")
    responder.span(report(ONSET, 4.0, 5.0))
    responder.span(report(RETRACTED, 4.0, 5.0))
    assert listener.ended(1) == [("Text 1.", AnswerStatus.OK, False), ("Text 1.", AnswerStatus.SKIPPED, True)]
    assert "retracted" in listener.final(1).error


def test_a_retracted_event_that_waits_for_its_end_is_not_told(responder_of, voice, listener):
    responder = responder_of(respond_on="offset")
    responder.span(report(ONSET, 4.0, 5.0))
    responder.span(report(RETRACTED, 4.0, 5.0))
    assert voice.requests == []
    assert listener.ended(1) == [("", AnswerStatus.SKIPPED, True)]


def test_events_of_one_query_on_two_cameras_do_not_end_each_other(responder_of, listener):
    responder = responder_of(respond_on="offset")
    responder.span(report(ONSET, 4.0, 5.0, 1, camera="front"))
    responder.span(report(ONSET, 4.0, 5.0, 2, camera="left"))
    responder.span(report(OFFSET, 4.0, 6.0, 1, camera="front"))
    responder.span(report(OFFSET, 4.0, 6.0, 2, camera="left"))
    assert [listener.final(span_id).status for span_id in (1, 2)] == [AnswerStatus.OK] * 2


@pytest.mark.parametrize(("history", "reminded"), [(0, ()), (1, ("Text 3.",)), (3, ("Text 1.", "Text 3."))])
def test_the_model_is_reminded_of_whole_answers_only(responder_of, voice, history, reminded):
    responder = responder_of(history=history)
    voice.script = ["Text 1.", BackendError("It fell over: pick it up."), "Text 3."]
    for span_id in range(1, 5):
        responder.span(report(ONSET, 4.0, 5.0, span_id))
    assert voice.requests[3].history == reminded


def test_a_reset_forgets_frames_and_past_commentaries(responder_of, voice, listener):
    responder = responder_of()
    responder.span(report(ONSET, 4.0, 5.0))
    responder.reset()
    assert responder.frames_kept == 0
    responder.frame(picture(7), at(7))
    responder.span(report(ONSET, 7.0, 7.0, 2))
    assert (seconds_shown(voice.requests[1]), voice.requests[1].history) == ([7], ())


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_is_an_error(responder_of, voice, listener, text):
    voice.script = [text]
    responder_of().span(report(ONSET, 4.0, 5.0))
    assert listener.final(1).status is AnswerStatus.ERROR
    assert "empty text" in listener.final(1).error


def test_what_no_message_can_hold_is_mended_also_in_the_history(responder_of, voice, listener):
    voice.script = ["A cup\0\ud800."]
    responder = responder_of()
    responder.span(report(ONSET, 4.0, 5.0))
    responder.span(report(ONSET, 4.0, 5.0, 2))
    assert listener.final(1).text == "A cup\ufffd\ufffd."
    assert voice.requests[1].history == ("A cup\ufffd\ufffd.",)


def test_a_watch_that_wants_no_commentary_gets_a_final_that_says_so(responder_of, voice, listener):
    responder_of().span(report(ONSET, 4.0, 5.0, respond=False))
    assert "no commentary" in listener.final(1).error
    assert voice.requests == []


def test_without_a_frame_of_the_event_it_is_skipped(responder_of, voice, listener):
    responder_of(seconds=()).span(report(ONSET, 4.0, 5.0))
    assert listener.final(1).status is AnswerStatus.SKIPPED
    assert "No frame" in listener.final(1).error


def test_an_event_that_is_joined_at_an_update_is_told_once_with_the_onsets_stamp(
    responder_of, voice, listener
):
    responder = responder_of()
    responder.span(report(UPDATE, 4.0, 6.0, onset=at(5.0)))
    responder.span(report(UPDATE, 4.0, 7.0, onset=at(5.0)))
    responder.span(report(OFFSET, 4.0, 7.0, onset=at(5.0)))
    assert listener.final(1).onset == at(5.0)
    assert [seconds_shown(request) for request in voice.requests] == [[2, 3, 4, 5, 6, 7, 8, 9]]


@pytest.mark.parametrize(
    ("respond_on", "status"), [("onset", AnswerStatus.SKIPPED), ("offset", AnswerStatus.OK)]
)
def test_an_end_whose_onset_was_not_heard_is_told_where_ends_are(responder_of, listener, respond_on, status):
    responder_of(respond_on=respond_on).span(report(OFFSET, 4.0, 6.0))
    assert listener.final(1).status is status


def test_what_was_answered_in_an_earlier_life_is_not_told_again(responder_of, voice, listener):
    answered = KnownOnsets()
    responder_of(known={"answered": answered}).span(report(ONSET, 4.0, 5.0, published=77))
    again = responder_of(known={"answered": answered})
    again.span(report(ONSET, 4.0, 5.0, published=77))
    again.span(report(UPDATE, 4.0, 6.0, published=78))
    assert len(voice.requests) == 1


def test_while_disabled_events_are_skipped_and_no_frames_kept(responder_of, listener):
    responder = responder_of()
    responder.disable()
    responder.frame(picture(10), at(10))
    assert responder.frames_kept == 0
    responder.span(report(ONSET, 4.0, 5.0))
    assert listener.final(1).error == "The responder is disabled."
    responder.enable()
    responder.frame(picture(11), at(11))
    responder.span(report(ONSET, 11.0, 11.0, 2))
    assert listener.final(2).status is AnswerStatus.OK


def test_what_is_owed_when_it_stops_gets_its_final(responder_of, listener):
    responder = responder_of(respond_on="offset")
    responder.span(report(ONSET, 4.0, 5.0))
    responder.stop("The recording ended.")
    assert (listener.final(1).status, listener.final(1).error) == (
        AnswerStatus.SKIPPED,
        "The recording ended.",
    )


def test_settings_that_are_live_count_from_the_next_answer_on(responder_of, voice):
    responder = responder_of()
    responder.apply(ResponseConfig(max_frames=1, system_prompt="Sing it."))
    responder.span(report(ONSET, 4.0, 5.0))
    assert (seconds_shown(voice.requests[0]), voice.requests[0].system_prompt) == ([5], "Sing it.")
    with pytest.raises(ConfigError, match="respond_on"):
        responder.apply(replace(ResponseConfig(), respond_on="both"))


def test_a_frame_of_before_a_step_back_in_time_is_not_shown(responder_of, voice):
    responder = responder_of(seconds=(5, 6, 7, 3, 4))
    responder.span(report(ONSET, 3.0, 7.0))
    assert seconds_shown(voice.requests[0]) == [3, 4]
