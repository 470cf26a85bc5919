"""The same recording live, as real nodes over DDS, and offline: the same decisions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is missing")
pytest.importorskip("stride_ros.msg", reason="the built messages of stride_ros are missing")

from stride_ros.replay import replay

ROOT = Path(__file__).resolve().parents[2]
QUERY = "Tell me when a red box is on the table."
SECONDS = 10


def test_live_spans_equal_offline_spans_within_one_slot(world_bag, checkpoint, model, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "stride_ros", "demo", "--source", world_bag, "--query", QUERY),
            *("--model", checkpoint, "--no-responder", "--seconds", str(SECONDS), "--speed", "1"),
            *("--out", tmp_path, "--no-report"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (live,) = json.loads((tmp_path / "events.json").read_text())["queries"]
    offline = replay(world_bag, QUERY, model=model, duration=SECONDS).run.queries[0]

    assert live["spans"]
    assert len(live["spans"]) == len(offline.spans)
    for span, other in zip(live["spans"], offline.spans, strict=True):
        assert span["start"] == pytest.approx(other.start, abs=1.0)
        assert span["end"] == pytest.approx(other.end, abs=1.0)
    for (start, _, value), (other_start, _, other) in zip(live["activity"], offline.activity(), strict=True):
        assert start == pytest.approx(other_start, abs=0.11)
        assert value == pytest.approx(other, abs=1e-3)
