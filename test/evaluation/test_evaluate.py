"""The evaluation from the command line, on a random model: the numbers, the report, bad options."""

import json

import numpy as np
import pytest

from stride_ros.cli import main

pytestmark = pytest.mark.slow

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

METRICS = {
    "span_f1_30",
    "span_f1_50",
    "span_f1_70",
    "onset_recall",
    "onset_precision",
    "false_alarms_per_minute",
    "boundary_error_s",
    "onset_delay_s",
    "text_accuracy",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from stride_ros.training.checkpoint import create_checkpoint

    return create_checkpoint(tmp_path_factory.mktemp("model") / "random", window=8, frame_max_tokens=2)


def test_the_json_has_the_documented_metrics(checkpoint, tmp_path, capsys):
    file = tmp_path / "quality.json"
    assert (
        main(["evaluate", "--clips", "1", "--seconds", "20", "--model", str(checkpoint), "--json", str(file)])
        == 0
    )
    result = json.loads(file.read_text())
    assert set(result["metrics"]) == METRICS
    assert result["counts"]["events"] > 0
    assert "span_f1_50" in capsys.readouterr().out


def test_the_report_replaces_its_table_and_keeps_the_text_around_it(checkpoint, tmp_path):
    file = tmp_path / "quality.md"
    options = ["--clips", "1", "--seconds", "12", "--queries", "1", "--no-sentences"]
    options += ["--model", str(checkpoint)]
    assert main(["evaluate", *options, "--report", str(file)]) == 0
    file.write_text("Before.\n" + file.read_text() + "After.\n")
    assert main(["evaluate", *options, "--report", str(file), "--rival", f"another={checkpoint}"]) == 0
    text = file.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    for row in (
        "stride (default settings)",
        "1 denoising step",
        "per frame, same weights",
        "motion trigger",
        "another",
    ):
        assert text.count(f"| {row} |") == 1
    assert (tmp_path / "quality.png").stat().st_size > 5000


def test_parameters_can_be_set_and_are_told(checkpoint, tmp_path):
    file = tmp_path / "quality.json"
    options = ["--clips", "1", "--seconds", "12", "--queries", "1", "--no-sentences", "--json", str(file)]
    given = ["--model", str(checkpoint), "--set", "decide_every=4", "--set", "max_frames=6"]
    assert main(["evaluate", *options, *given]) == 0
    assert json.loads(file.read_text())["parameters"] == {"decide_every": 4, "max_frames": 6}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "drop_frames=4", "--report", "quality.md"], "leave out --set or --report"),
        (["--set", "responder.history=0"], "leave out --set responder.history"),
        (["--set", "nothing=1"], "names no parameter"),
    ],
)
def test_a_parameter_that_cannot_be_set_is_refused(checkpoint, monkeypatch, tmp_path, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--clips", "1", "--model", str(checkpoint), *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_clips_are_the_same_for_a_seed_and_differ_between_seeds():
    from stride_ros.evaluation.world import clips

    first, again, other = (next(clips(seed, 1, 3, seconds=20.0)) for seed in (0, 0, 1))
    assert first.queries == again.queries
    assert np.array_equal(first.frames[7], again.frames[7])
    assert not np.array_equal(first.frames[7], other.frames[7])
    assert not first.events_for(first.queries[-1])  # one query is never met
    assert first.events_for(first.queries[0])


def test_a_run_of_active_frames_is_one_span_from_the_frame_before_it():
    from stride_ros.evaluation.detectors import runs_of

    detection = runs_of([False, True, True, False, True], [0.0, 1.0, 2.0, 3.0, 4.0])
    assert detection.spans == ((0.0, 2.0), (3.0, 4.0))
    assert detection.onsets == (1.0, 4.0)


def test_a_median_of_frames_drops_a_flicker_and_is_late_by_one_frame():
    from stride_ros.evaluation.detectors import active_runs

    times = [float(second) for second in range(8)]
    values = [0.1, 0.9, 0.2, 0.1, 0.7, 0.8, 0.9, 0.9]
    assert active_runs(values, times, 0.5).onsets == (1.0, 4.0)
    assert active_runs(values, times, 0.5, smoothing=3).onsets == (5.0,)
    assert active_runs(values, times, 0.75).onsets == (1.0, 5.0)


def test_clips_of_another_world_watch_the_query_that_is_always_asked():
    from stride_ros.evaluation.detectors import Detection
    from stride_ros.evaluation.world import clips
    from stride_ros.world import WorldConfig

    asked = "Tell me when a hand takes something away."
    config = WorldConfig(kinds=("on_table", "hand", "taken"))
    found = list(clips(3, 3, 4, seconds=20.0, config=config, always=(asked,)))
    for clip in found:
        assert clip.queries[0] == asked
        assert len(set(clip.queries)) == 4
        assert not clip.events_for(clip.queries[-1])
        outcome = clip.outcome(asked, Detection(((2.0, 5.0),), (3.0,)))
        assert outcome.spans == ((2.0, 5.0),)
        assert all(0.0 <= start < end <= clip.times[-1] for start, end in outcome.truth)
    assert any(clip.events_for(asked) for clip in found)


def test_motion_and_interval_tell_without_a_model():
    from stride_ros.evaluation.detectors import FixedInterval, Motion

    frames = [np.full((8, 8, 3), value, np.uint8) for value in (0, 0, 50, 100, 100)]
    times = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert Motion().watch(frames, times, ["a", "b"])[1].onsets == (2.0,)
    assert FixedInterval(4.0).watch(frames, times, ["a"])[0].onsets == (0.0, 4.0)


@pytest.mark.parametrize(
    "options",
    [
        ["--clips", "0"],
        ["--seconds", "0"],
        ["--rival", "nameonly"],
        ["--json", "/dev/null/x.json"],
        ["--model", "/dev/null/model"],
    ],
)
def test_bad_options_are_one_sentence_and_exit_2(options, capsys):
    assert main(["evaluate", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
