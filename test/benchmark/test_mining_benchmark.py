"""The benchmark of mining: all ways find the same runs, and each has a row."""

import pytest

from stride_ros.benchmark import mining

pytestmark = pytest.mark.slow

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")


def test_each_way_to_mine_has_its_row(capsys):
    assert mining.main(["--count", "2", "--seconds", "6"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip("| ") for row in rows][:3] == [
        "replay in a loop",
        "xargs -P 2 replay",
        "mine --no-ray",
    ]
    assert rows[0][3] == "1.00 |"
    assert all(float(row[1]) > 0 for row in rows)
