"""Files damaged at random are read or end in a sentence; STRIDE_MUTATIONS says how many are made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
pytest.importorskip("mcap", reason="mcap is missing; install it with: pip install mcap")

TOOL = Path(__file__).parents[2] / "tools/mutate_files.py"


def test_no_damaged_file_ends_in_anything_but_a_sentence():
    count = os.environ.get("STRIDE_MUTATIONS", "200")
    done = subprocess.run([sys.executable, TOOL, "--count", count], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["cases"], result["faults"]) == (int(count), 0)
    assert result["read"] > 0
    assert result["sentence"] > 0
