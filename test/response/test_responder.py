"""The responder without ROS: which events are told, how, and what the model is shown about them."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.commentary import Commentary, SpanReport, SpanState
from stride_ros.response.config import ResponseConfig
from stride_ros.response.dispatch import MAX_OPEN
from stride_ros.response.known_onsets import KnownOnsets
from stride_ros.response.responder import Responder
from stride_ros.response.scheduler import AnswerStatus
from stride_ros.text.foreign import MAX_REASON

SECOND = 10**9  # ns
EPOCH = 1_700_000_000 * SECOND
ONSET, UPDATE, OFFSET, RETRACTED = SpanState
PATIENCE = 60.0  # s; only reached by a test that fails


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


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


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


def test_an_event_is_answered_from_its_camera_and_what_was_said_about_that(voice, listener):
    cameras = ("front", "left")
    responder = Responder(voice, ResponseConfig(history=2), listener, cameras=cameras, inline=True)
    for second in range(10):
        responder.frame(picture(second), at(second), "front")
        responder.frame(picture(100 + second), at(second), "left")
    responder.span(report(ONSET, 4.0, 5.0, 1, camera="front"))
    responder.span(report(ONSET, 4.0, 5.0, 2, camera="left"))
    responder.span(report(ONSET, 6.0, 7.0, 3, camera="left"))
    front, left, again = voice.requests
    assert max(seconds_shown(front)) == 5
    assert (min(seconds_shown(left)) >= 100, max(seconds_shown(left))) == (True, 105)
    assert [request.history for request in (front, left, again)] == [(), (), ("Text 2.",)]
    assert [listener.final(number).status for number in (1, 2, 3)] == [AnswerStatus.OK] * 3


def test_an_event_on_a_camera_that_the_responder_does_not_have_is_skipped_with_the_remedy(voice, listener):
    responder = Responder(voice, ResponseConfig(), listener, cameras=("front", "left"), inline=True)
    for camera in ("rear", ""):
        responder.span(report(ONSET, 4.0, 5.0, 1 + len(camera), camera=camera))
        responder.span(report(OFFSET, 4.0, 6.0, 1 + len(camera), camera=camera))
        final = listener.final(1 + len(camera))
        assert final.status is AnswerStatus.SKIPPED
        assert f"the camera {camera!r}" in final.error
        assert "parameter cameras" in final.error
    assert not voice.requests


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
    assert "empty answer" in listener.final(1).error


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


def test_what_a_killed_process_owed_is_skipped_with_the_reason(responder_of, voice, listener):
    """It was heard, and nothing tells that it still goes on."""
    answered = KnownOnsets()
    answered.owe((77, 1), report(ONSET, 4.0, 5.0, published=77))
    responder = responder_of(known={"answered": answered})
    responder.start()
    assert listener.final(1).status is AnswerStatus.SKIPPED
    assert "was restarted" in listener.final(1).error
    responder.span(report(ONSET, 4.0, 5.0, published=77))
    assert (voice.requests, answered.owed()) == ([], [])


def test_what_a_killed_process_owed_is_answered_while_it_goes_on(voice, listener):
    answered = KnownOnsets()
    for span_id in (1, 2, 3):
        onset = report(ONSET, 4.0, 5.0, span_id, published=70 + span_id, watch=str(span_id))
        answered.owe((70 + span_id, span_id), onset)
    responder = Responder(voice, ResponseConfig(), listener, answered=answered)
    responder.start()
    responder.frame(picture(9), at(9))
    responder.span(report(ONSET, 4.0, 5.0, 1, published=71, watch="1"))
    responder.span(report(UPDATE, 4.0, 9.0, 2, published=99, watch="2"))
    responder.span(report(UPDATE, 4.0, 7.0, 3, published=98, watch="3"))
    responder.span(report(OFFSET, 4.0, 8.0, 3, published=99, watch="3"))
    wait_until(lambda: len([said for said in listener.heard if said.final]) == 3)
    assert responder.close("The test is over.")
    statuses = [listener.final(span_id).status for span_id in (1, 2, 3)]
    assert statuses == [AnswerStatus.OK, AnswerStatus.OK, AnswerStatus.SKIPPED]
    assert "over" in listener.final(3).error


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_ends_as_it_publishes_does_so_at_most_once(voice, tmp_path, moment):
    class Killed(Listener):
        def commentary(self, commentary: Commentary) -> None:
            if moment == "after" or not commentary.final:
                super().commentary(commentary)
            if commentary.final:
                raise SystemExit  # which ends the process, as a signal would

    onset = report(ONSET, 4.0, 5.0, published=77)
    first, second = Killed(), Listener()
    for listener in (first, second):
        answered = KnownOnsets(tmp_path / "answered")
        responder = Responder(voice, ResponseConfig(), listener, answered=answered, inline=True)
        responder.frame(picture(4), at(4))
        responder.start()
        with contextlib.suppress(SystemExit):
            responder.span(onset)
    finals = [said for said in first.heard + second.heard if said.final]
    assert len(finals) == (moment == "after")
    assert answered.uncertain == ((77, 1),)


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_of_events_that_never_end_neither_all_nor_their_frames_are_kept(voice, listener, respond_on):
    settings = ResponseConfig(respond_on=respond_on, cache_frames=2)
    responder = Responder(voice, settings, listener, inline=True)
    shown, held = [], []
    for number in range(MAX_OPEN + 10):
        image = picture(number % 256)
        shown.append(weakref.ref(image))
        responder.frame(image, at(number))
        del image
        voice.requests.clear()
        responder.span(report(ONSET, number, number, number, watch=str(number)))
        held.append(sum(frame() is not None for frame in shown))
    assert max(held) <= 2 + 2, "those of the cache, and of the request under way"
    finals = [said.span.span_id for said in listener.heard if said.final]
    assert len(finals) == len(set(finals))
    if respond_on != "onset":
        assert sorted(finals) == list(range(10)), "the oldest"
        assert listener.final(0).error.startswith("More than 1000 events were open")
    responder.close("The test is over.")
    assert sorted(said.span.span_id for said in listener.heard if said.final) == list(range(MAX_OPEN + 10))


def test_a_reason_has_one_line_of_bounded_length(responder_of, voice, listener):
    voice.script = [RuntimeError("x" * 10**6), BackendError("line\n\x1b[2J" + "y" * 10**6)]
    responder = responder_of()
    responder.span(report(ONSET, 4.0, 5.0, 1))
    responder.span(report(ONSET, 4.0, 5.0, 2))
    for span_id in (1, 2):
        error = listener.final(span_id).error
        assert len(error) <= MAX_REASON
        assert error.isprintable()
    assert 1 <= len(responder.figures().last_error) <= MAX_REASON


@pytest.mark.parametrize("field", ["query", "watch", "camera", "frame_id"])
def test_a_span_with_an_endless_text_is_skipped(responder_of, voice, listener, field):
    responder_of().span(report(ONSET, 4.0, 5.0, **{field: "q" * 10**6}))
    final = listener.final(1)
    assert (final.status, voice.requests) == (AnswerStatus.SKIPPED, [])
    assert f"The {field} of the span has 1000000 characters" in final.error
    assert len(getattr(final.span, field)) == 1000


def test_what_it_has_taken_on_is_owed_by_the_next_process(voice, tmp_path):
    first, second = Listener(), Listener()
    for listener in (first, second):
        answered = KnownOnsets(tmp_path / "answered")
        settings = ResponseConfig(respond_on="offset")
        responder = Responder(voice, settings, listener, answered=answered, inline=True)
        responder.start()
        responder.frame(picture(4), at(4))
        if listener is first:  # which ends without a word; the ONSET has been pushed out since
            responder.span(report(ONSET, 4.0, 5.0, published=77))
    assert first.heard == []
    responder.stop("The test is over.")
    assert second.final(1).status is AnswerStatus.SKIPPED
    assert answered.owed() == []
