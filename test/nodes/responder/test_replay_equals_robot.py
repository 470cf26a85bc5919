"""What a replay of a recording shows the responder's model is what the robot shows it: the same requests."""

from __future__ import annotations

import array
import base64
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")

from rosbags.highlevel import AnyReader

QUERIES = ["Tell me when a blue ring is on the table.", "Tell me when a hand is in view."]
WIDTH = 2000  # px, more than a responder remembers


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """30 s in which one event is retracted and one goes on to the end."""
    from stride_ros.sources.world_bag import write_bag
    from stride_ros.world import World

    path = tmp_path_factory.mktemp("wide") / "bag"
    write_bag(World(seed=2, seconds=30, size=(WIDTH, WIDTH // 2), fps=1), path)
    return path


class Robot:
    """Publishes what the activation node would have, each message once the one before is dealt with."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        self.told: list[Any] = []  # commentary in the recording

    def play(self, bag: Any) -> None:
        handlers = {
            "/stride/frames": self._frame,
            "/stride/activation/span": self._span,
            "/stride/commentary": self._wait,
        }
        with AnyReader([bag]) as reader:
            for connection, _, data in reader.messages():
                if connection.topic in handlers:
                    handlers[connection.topic](reader.deserialize(data, connection.msgtype))

    def _frame(self, recorded: Any) -> None:
        from sensor_msgs.msg import Image

        message = Image(
            height=recorded.height, width=recorded.width, encoding=recorded.encoding, step=recorded.step
        )
        _copy_header(recorded.header, message.header)
        message.data = array.array("B", recorded.data.tobytes())
        self.stage.publish_frame(message)

    def _span(self, recorded: Any) -> None:
        from stride_ros.msg import ActivationSpan

        names = ("span_id", "state", "query", "confidence", "watch", "camera", "respond", "model")
        message = ActivationSpan(**{name: getattr(recorded, name) for name in names})
        _copy_header(recorded.header, message.header)
        for name in ("start", "end", "onset"):
            _copy_time(getattr(recorded, name), getattr(message, name))
        self.stage.publish_span(message)

    def _wait(self, recorded: Any) -> None:
        self.told.append(recorded)
        if recorded.final:
            self.stage.finals(recorded.span_id)
        else:
            self.stage.graph.wait(lambda: recorded.text in self.stage.partials(recorded.span_id), "a text")


def _copy_header(recorded: Any, header: Any) -> None:
    header.frame_id = recorded.frame_id
    _copy_time(recorded.stamp, header.stamp)


def _copy_time(recorded: Any, stamp: Any) -> None:
    stamp.sec, stamp.nanosec = recorded.sec, recorded.nanosec


def pictures(request: dict[str, Any]) -> list[bytes]:
    """The JPEGs of a request."""
    parts = [part for part in request["messages"][-1]["content"] if part["type"] == "image_url"]
    return [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in parts]


@pytest.mark.parametrize("history", [0, 3])
@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_replay_and_robot_show_the_model_the_same(
    stage, chat_server, recording, tmp_path, monkeypatch, respond_on, history
):
    from stride_ros.replay import replay
    from stride_ros.response.config import BackendConfig, ResponseConfig

    # What is said tells how many requests came before.
    monkeypatch.setattr(chat_server, "next_behaviour", lambda: f"ok Text {len(chat_server.requests)}.")
    server = {"base_url": chat_server.url, "model": "tiny", "temperature": 0.0, "image_size": 2048}
    settings = {"respond_on": respond_on, "history": history, "pre_seconds": 3.0, "max_frames": 5}
    out = tmp_path / "out"
    result = replay(
        recording,
        QUERIES,
        model="stride-tiny",
        device="cpu",
        responder=BackendConfig("openai", **server),
        response=ResponseConfig(**settings),
        out=out,
    )
    offline = list(chat_server.requests)
    states = {span.state for span in result.spans()}
    assert states == {"offset", "retracted"}, "both ways for an event to end are in the recording"
    chat_server.requests.clear()

    stage.start(backend="openai", max_new_tokens=128, **server, **settings)
    robot = Robot(stage)
    robot.play(out)

    live = list(chat_server.requests)
    assert len(live) == len(offline) > 2
    for one, other in zip(live, offline, strict=True):
        assert pictures(one) == pictures(other), "the same bytes"
        assert one == other, "the same words, times and settings"
    remembered = cv2.imdecode(np.frombuffer(pictures(offline[0])[0], np.uint8), cv2.IMREAD_COLOR)
    assert remembered.shape[1] == ResponseConfig().cache_size < WIDTH
    reminded = ["You said before" in request["messages"][-1]["content"][-1]["text"] for request in offline]
    assert any(reminded[1:]) == bool(history)

    finals = stage.finals(*(span.id for span in result.spans()))
    recorded = {said.span_id: said for said in robot.told if said.final}
    assert recorded.keys() == finals.keys()
    for span_id, said in recorded.items():
        one, other = finals[span_id], said
        assert (one.text, one.status, one.error) == (other.text, other.status, other.error)
        assert one.header.stamp.sec == other.header.stamp.sec
        assert [stamp.sec for stamp in one.frame_stamps] == [stamp.sec for stamp in other.frame_stamps]
    in_run = {span.id: (span.said.text, span.said.error) for span in result.spans()}
    assert in_run == {span_id: (said.text, said.error) for span_id, said in recorded.items()}
