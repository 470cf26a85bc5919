"""The responder node over DDS: every onset is answered once, with the model's own words."""

from __future__ import annotations

import array
import base64

import cv2
import numpy as np
import pytest

ONSET, UPDATE, OFFSET, RETRACTED = range(4)
OK, ERROR, SKIPPED = range(3)


def test_an_onset_is_answered_with_the_words_of_the_model(stage, stamp_of):
    stage.start()
    stage.frames(0, 1, 2, 3)
    stage.span(7, ONSET, 2.0, 3.0, query="Tell me when the cup falls.")
    final = stage.finals(7)[7]
    assert (final.status, final.error) == (OK, "")
    assert final.text
    assert final.query == "Tell me when the cup falls."
    assert final.model == stage.checkpoint.name
    assert (final.header.stamp, final.header.frame_id) == (stamp_of(3.0), "camera")
    assert final.latency > 0
    stage.graph.wait(lambda: stage.spoken, "the spoken text")
    assert [message.data for message in stage.spoken] == [final.text]


def test_the_answer_says_which_frames_were_shown_and_whose_watch_it_was(stage, stamp_of):
    stage.start(pre_seconds=1.0)
    stage.frames(0, 1, 2, 3)
    stage.span(7, ONSET, 2.0, 3.0, watch="door", camera="front")
    final = stage.finals(7)[7]
    assert (final.watch, final.camera) == ("door", "front")
    assert final.frame_stamps == [stamp_of(1.0), stamp_of(2.0), stamp_of(3.0)]


def test_a_watch_that_wants_no_commentary_gets_a_final_that_says_so(stage, capfd):
    stage.start()
    stage.frames(0, 1, 2)
    stage.span(7, ONSET, 1.0, 2.0, respond=False)
    final = stage.finals(7)[7]
    assert (final.status, final.text) == (SKIPPED, "")
    assert "no commentary" in final.error
    assert "was not answered" not in capfd.readouterr().err, "nobody needs a warning of what was asked for"


def test_partial_texts_come_before_the_final_one_and_grow(stage, chat_server):
    chat_server.then("ok one two three four five six")
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    final = stage.finals(1)[1]
    partials = stage.partials(1)
    assert partials
    assert all(final.text.startswith(text) for text in partials)
    assert partials == sorted(partials, key=len)


def test_the_model_sees_the_frames_of_the_event_and_a_little_before(stage, chat_server):
    stage.start(
        backend="openai", base_url=chat_server.url, model="tiny", pre_seconds=1.0, max_frames=3, history=0
    )
    stage.frames(0, 1, 2, 3, 4, 5, 6)
    stage.span(1, ONSET, 2.0, 6.0)  # 1 to 6, thinned to 3
    stage.span(2, ONSET, 5.5, 6.0)  # 5 and 6
    stage.finals(1, 2)
    shown = [
        [part["text"] for part in request["messages"][-1]["content"] if part["type"] == "text"]
        for request in chat_server.requests
    ]
    assert shown[0][:3] == ["Frame 1 at 0.0 s:", "Frame 2 at 3.0 s:", "Frame 3 at 5.0 s:"]
    assert shown[1][:2] == ["Frame 1 at 0.0 s:", "Frame 2 at 1.0 s:"]
    assert "began at 1.0 seconds" in shown[0][3]
    assert "began at 0.5 seconds" in shown[1][2]


def test_the_model_is_told_its_last_words_and_its_style(stage, chat_server):
    chat_server.then("ok One.", "ok Two.", "ok Three.")
    stage.start(
        backend="openai",
        base_url=chat_server.url,
        model="tiny",
        history=1,
        system_prompt="Sing it.",
    )
    stage.frames(0, 1, 2)
    for span_id in (1, 2, 3):
        stage.span(span_id, ONSET, 1.0, 2.0)
        stage.finals(span_id)
    system, user = chat_server.requests[2]["messages"]
    assert system["content"] == "Sing it."
    assert "Two." in user["content"][-1]["text"]
    assert "One." not in user["content"][-1]["text"]


def test_a_retracted_span_that_waits_is_skipped(stage, chat_server):
    chat_server.then("hang")
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    stage.span(2, ONSET, 1.0, 2.0, query="the ball")
    stage.span(2, RETRACTED, 1.0, 2.0, query="the ball")
    skipped = stage.finals(2)[2]
    assert (skipped.status, skipped.text) == (SKIPPED, "")
    assert "retracted" in skipped.error


def test_an_event_without_frames_is_skipped_with_the_reason(stage):
    stage.start()
    stage.frames(0)
    stage.span(1, ONSET, 50.0, 60.0)
    final = stage.finals(1)[1]
    assert final.status == SKIPPED
    assert "No frame" in final.error
    assert stage.spoken == []


def test_frames_that_cannot_be_shown_are_an_error_and_the_next_onset_works(stage):
    stage.start()
    stage.frames(0, 1, height=20, width=20)
    stage.span(1, ONSET, 0.0, 1.0)
    failed = stage.finals(1)[1]
    assert failed.status == ERROR
    assert "at least 32 pixels" in failed.error
    stage.frames(10, 11)
    stage.span(2, ONSET, 10.5, 11.0)
    assert stage.finals(2)[2].status == OK


def test_frames_of_an_unknown_encoding_do_not_stop_the_node(stage, stamp_of):
    from sensor_msgs.msg import Image

    stage.start()
    message = Image(height=2, width=2, encoding="telepathy", step=2, data=array.array("B", bytes(4)))
    message.header.stamp = stamp_of(0)
    stage.publish_frame(message)
    assert "telepathy" in stage.node.last_error
    stage.frames(1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    assert stage.finals(1)[1].status == OK


def test_a_bag_that_loops_starts_a_new_history(stage, chat_server):
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(100, 101, 102)
    stage.frames(0, 1)
    stage.span(1, ONSET, 0.5, 1.0)
    assert stage.finals(1)[1].status == OK
    pictures = [part for part in chat_server.requests[0]["messages"][-1]["content"] if "image_url" in part]
    assert len(pictures) == 2


def test_an_onset_that_overtakes_its_frame_waits_for_it(stage, chat_server):
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1)
    stage.span(1, ONSET, 0.5, 2.0)
    stage.graph.wait(lambda: stage.node.onsets == 1, "the onset")
    stage.frames(2)
    assert stage.finals(1)[1].status == OK
    pictures = [part for part in chat_server.requests[0]["messages"][-1]["content"] if "image_url" in part]
    assert len(pictures) == 3


def test_deactivation_answers_what_is_owed_and_a_second_round_works(stage):
    node = stage.start(max_new_tokens=4096)
    stage.frames(0, 1, 2)
    for span_id in (1, 2, 3):
        stage.span(span_id, ONSET, 1.0, 2.0, query=f"query {span_id}")
    stage.graph.wait(lambda: node.onsets == 3, "the onsets")
    stage.transit("deactivate")
    finals = stage.finals(1, 2, 3)
    assert [finals[span_id].status for span_id in (1, 2, 3)] == [SKIPPED] * 3
    assert all("deactivated" in message.error for message in finals.values())

    stage.transit("activate")
    stage.frames(10, 11)
    # Spans are kept for late subscribers, so the old ones come again: they must not be answered again.
    stage.span(4, ONSET, 10.5, 11.0)
    stage.graph.wait(lambda: node.onsets == 4, "the onset of the second round")
    stage.transit("deactivate")
    assert sorted(stage.finals(4)) == [1, 2, 3, 4]


def test_shutdown_answers_what_is_owed(stage):
    node = stage.start(max_new_tokens=4096)
    stage.frames(0, 1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    stage.graph.wait(lambda: node.onsets == 1, "the onset")
    stage.graph.remove(node)
    assert stage.finals(1)[1].status == SKIPPED


def test_configure_activate_and_back_twice(stage):
    stage.start()
    for round_ in (1, 2):
        stage.frames(10 * round_, 10 * round_ + 1)
        stage.span(round_, ONSET, 10 * round_, 10 * round_ + 1)
        assert stage.finals(round_)[round_].status == OK
        stage.transit("deactivate", "cleanup", "configure", "activate")


def test_a_model_that_is_missing_fails_configure_with_the_reason_and_can_be_corrected(stage):
    from rclpy.parameter import Parameter

    from stride_ros.nodes.responder_node import ResponderNode

    node = stage.node = stage.graph.host(ResponderNode, {"model": "/nowhere/model"})
    assert not stage.graph.transition("responder", "configure")
    assert "There is no checkpoint directory" in node.last_error
    assert stage.graph.state("responder") == "unconfigured"
    assert node.set_parameters([Parameter("model", value=str(stage.checkpoint))])[0].successful
    stage.transit("configure", "activate")


def test_while_disabled_onsets_are_skipped(stage):
    from std_srvs.srv import SetBool

    stage.start()
    assert stage.graph.call(SetBool, "responder/enable", data=False).success
    stage.span(1, ONSET, 0.0, 1.0)
    final = stage.finals(1)[1]
    assert (final.status, final.error) == (SKIPPED, "The responder is disabled.")
    assert stage.graph.call(SetBool, "responder/enable", data=True).success
    stage.frames(5, 6)
    stage.span(2, ONSET, 5.5, 6.0)
    assert stage.finals(2)[2].status == OK


def test_reset_forgets_frames_and_what_is_owed(stage):
    from std_srvs.srv import Trigger

    node = stage.start(max_new_tokens=4096)
    stage.frames(0, 1)
    stage.span(1, ONSET, 0.5, 1.0)
    stage.graph.wait(lambda: node.onsets == 1, "the onset")
    assert stage.graph.call(Trigger, "responder/reset").success
    final = stage.finals(1)[1]
    assert final.status == SKIPPED
    assert "reset" in final.error
    stage.span(2, ONSET, 0.5, 1.0)
    assert "No frame" in stage.finals(2)[2].error


@pytest.mark.parametrize(("respond_on", "texts"), [("onset", 2), ("offset", 2), ("both", 4)])
def test_each_moment_gives_one_final_commentary(stage, respond_on, texts):
    stage.start(respond_on=respond_on)
    stage.frames(0, 1, 2, 3)
    for span_id in (1, 2):
        stage.span(span_id, ONSET, 1.0, 2.0)
        stage.span(span_id, UPDATE, 1.0, 3.0)
        stage.span(span_id, OFFSET, 1.0, 3.0)
        assert stage.finals(span_id)[span_id].status == OK
    stage.graph.wait(lambda: len(stage.spoken) == texts, "the spoken texts")


def test_diagnostics_tell_the_figures(stage, documented_values):
    from diagnostic_msgs.msg import DiagnosticArray

    arrays = stage.graph.collect(DiagnosticArray, "/diagnostics")
    stage.start()
    stage.frames(0, 1)
    stage.span(1, ONSET, 0.5, 1.0)
    stage.finals(1)

    def latest() -> dict[str, str]:
        statuses = [status for message in list(arrays) for status in message.status]
        return {pair.key: pair.value for pair in statuses[-1].values} if statuses else {}

    stage.graph.wait(lambda: latest().get("answered") == "1", "the count of answers")
    values = latest()
    assert values["model"] == stage.checkpoint.name
    assert float(values["first text (s)"]) > 0
    assert float(values["speed (tokens/s)"]) > 0
    assert values["queue"] == "0"
    assert set(values) == documented_values("responder")


def test_large_frames_are_kept_small(stage, chat_server):
    stage.start(backend="openai", base_url=chat_server.url, model="tiny", cache_size=64)
    stage.frames(0, 1, height=96, width=256)
    stage.span(1, ONSET, 0.0, 1.0)
    assert stage.finals(1)[1].status == OK
    pictures = [part for part in chat_server.requests[0]["messages"][-1]["content"] if "image_url" in part]
    jpeg = base64.b64decode(pictures[0]["image_url"]["url"].partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (24, 64, 3)


def test_live_parameters_apply_to_the_next_answer_and_others_are_refused(stage, chat_server):
    from rclpy.parameter import Parameter

    node = stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1, 2, 3)
    assert node.set_parameters([Parameter("max_frames", value=1)])[0].successful
    refused = node.set_parameters([Parameter("model", value="other")])[0]
    assert not refused.successful
    assert "configure" in refused.reason
    stage.span(1, ONSET, 1.0, 3.0)
    stage.finals(1)
    pictures = [part for part in chat_server.requests[0]["messages"][-1]["content"] if "image_url" in part]
    assert len(pictures) == 1
