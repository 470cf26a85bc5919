"""The table of what other readers make of the same files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
pytest.importorskip("mcap", reason="mcap is missing; install it with: pip install mcap")
from stride_ros.bags.writer import START_STAMP, BagWriter

TOOL = Path(__file__).parents[2] / "tools/compare_readers.py"


def test_each_reader_s_images_are_counted(tmp_path):
    for name in ("good", "cut off"):
        with BagWriter(tmp_path / "files" / name, "mcap") as bag:
            for i in range(3):
                picture = np.full((8, 12, 3), 60 * i, np.uint8)
                bag.write_image("/camera", picture, START_STAMP + i * 10**9, raw=True)
    (file,) = (tmp_path / "files/cut off").glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])
    done = subprocess.run(
        [
            sys.executable,
            TOOL,
            tmp_path / "files",
            "--json",
            tmp_path / "t.json",
            "--markdown",
            tmp_path / "t.md",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["file"]: row for row in json.loads((tmp_path / "t.json").read_text())}
    found = {name: row["stride_ros"]["images"] for name, row in rows.items()}
    assert found == {"good": 3, "cut off": 3}
    assert [rows["good"][reader]["images"] for reader in ("rosbags", "mcap")] == [3, 3]
    assert "error" in rows["cut off"]["rosbags"]
    assert "| good | 3 | 3 |  | 3 |" in (tmp_path / "t.md").read_text()
