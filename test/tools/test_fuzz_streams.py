"""Damaged answers of servers: nothing is lost, nothing doubled. STRIDE_FUZZ_CASES says how many."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools/fuzz_streams.py"


def test_damaged_answers_are_told_as_a_second_reader_reads_them():
    count = os.environ.get("STRIDE_FUZZ_CASES", "100")
    command = [sys.executable, TOOL, "--count", count, "--grace", "120"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["cases"], result["faults"]) == (int(count), 0)
    assert result["ok"] > 0
    assert result["error"] > 0
