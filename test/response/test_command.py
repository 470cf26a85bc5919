"""``stride-ros respond``: a model about a stretch of video, from the command line."""

from __future__ import annotations

import json

import pytest

from stride_ros.cli import main

pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def respond(capsys):
    """Runs the command on the synthetic world and returns exit code, stdout and stderr."""

    def run(*options: str, video: str = "world"):
        code = main(["respond", video, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_local_model_answers(respond, qwen3_vl, tmp_path):
    options = ["--from", "4", "--to", "6", "--query", "Tell me when it moves.", "--model", str(qwen3_vl)]
    file = tmp_path / "answer.json"
    code, out, err = respond(*options, "--max-new-tokens", "8", "--json", str(file))
    assert code == 0
    assert out.strip()
    assert "5 frames" in err
    report = json.loads(file.read_text())
    assert report["frame_times"] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert report["text"] == out.strip()
    assert report["tokens"] <= 8
    assert 0 < report["first_text_s"] <= report["seconds"]


def test_a_server_answers(respond, chat_server):
    pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
    code, out, _ = respond(
        *("--from", "4", "--to", "6", "--query", "q", "--model", "tiny", "--base-url", chat_server.url)
    )
    assert (code, out) == (0, "A cup falls. \n")
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "5", "--to", "4"), "correct the times"),
        (("--to", "4", "--max-frames", "0"), "at least 1"),
        (("--to", "4", "--rate", "0"), "correct the value"),
        (("--to", "4", "--json", "/nowhere/a.json"), "create it first"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(respond, options, message):
    code, out, err = respond(*options, "--query", "q", "--model", "m")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_missing_video_is_said(respond):
    code, _, err = respond("--to", "4", "--query", "q", "--model", "m", video="/nowhere.mp4")
    assert code == 2
    assert "does not exist" in err


def test_the_request_is_that_of_a_responder_with_the_same_frames(tmp_path):
    """Also of a recording with larger frames than a responder remembers."""
    import argparse

    import numpy as np

    pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
    from stride_ros.response.command import add_parser, read_request
    from stride_ros.response.commentary import SpanReport, SpanState
    from stride_ros.response.config import ResponseConfig
    from stride_ros.response.responder import Responder
    from stride_ros.sources import open_source
    from stride_ros.sources.world_bag import write_bag
    from stride_ros.world import World

    class Asked:
        """A backend, and the sink, that only notes what it was asked."""

        name, last_tokens = "asked", 0

        def __init__(self) -> None:
            self.requests = []

        def stream(self, request, cancelled):
            self.requests.append(request)
            yield "Seen."

        def commentary(self, commentary) -> None:
            pass

    bag = tmp_path / "bag"
    write_bag(World(seed=1, seconds=9, size=(1400, 700), fps=1), bag)
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = ("--from", "4", "--to", "7", "--query", "q", "--model", "m", "--max-frames", "4")
    one = read_request(parser.parse_args(["respond", str(bag), *options]))

    asked = Asked()
    responder = Responder(asked, ResponseConfig(max_frames=4), asked, inline=True)
    for frame in open_source(str(bag), rate=1.0, seconds=8.0).frames():
        responder.frame(frame.image, round(frame.time * 1e9))
    responder.span(SpanReport(SpanState.ONSET, 1, "q", start=4 * 10**9, end=7 * 10**9, stamp=7 * 10**9))
    (other,) = asked.requests
    assert [frame.time for frame in one.frames] == [frame.time for frame in other.frames]
    assert len(one.frames) == 4
    assert one.frames[0].image.shape == (512, 1024, 3)
    for frame, same in zip(one.frames, other.frames, strict=True):
        assert np.array_equal(frame.image, same.image)
    words = ("query", "span_start", "history", "system_prompt", "frame_stamps")
    assert [getattr(one, name) for name in words] == [getattr(other, name) for name in words]
