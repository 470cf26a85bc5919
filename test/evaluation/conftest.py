"""Synthetic predictions of published benchmarks, with the figures that the official scorers give for them.

STRIDE_BENCHMARKS_DIR names another set. The one beside the tests has no official wording: questions are
replaced and prompts left out, so tests that need them say so and are skipped.
"""

import json
import math
import os
import zlib
from pathlib import Path

import pytest

from stride_ros.cli import main

BENCHMARKS = Path(os.environ.get("STRIDE_BENCHMARKS_DIR") or Path(__file__).parents[1] / "benchmark_data")


@pytest.fixture(scope="session")
def benchmarks():
    """The folder with etbench, ovobench and streamingbench."""
    if not BENCHMARKS.is_dir():
        pytest.skip(f"STRIDE_BENCHMARKS_DIR: {BENCHMARKS} is not there")
    return BENCHMARKS


@pytest.fixture
def score(tmp_path, capsys):
    """Runs `stride-ros score`; gives the JSON, stdout, and stderr."""

    def run(*arguments, code=0):
        file = tmp_path / "score.json"
        file.unlink(missing_ok=True)
        assert main(["score", *map(str, arguments), "--json", str(file)]) == code
        captured = capsys.readouterr()
        return json.loads(file.read_text()) if code == 0 else None, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def agree():
    """Checks that a result has all that is expected, numbers within `tolerance`; what is more does not count.

    Where the official code raises, the type must be the same, and there must be a sentence.
    """

    def check(found, expected, tolerance=1e-9, place=""):
        if isinstance(expected, dict) and expected.get("official") == "raises":
            assert found.get("official") == "raises", place
            assert found["type"] == expected["type"], place
            assert found["message"], place
        elif isinstance(expected, dict) and set(expected) == {"error"}:
            assert found["error"], place
        elif isinstance(expected, dict):
            assert isinstance(found, dict), place
            assert set(expected) == set(found), place
            for key, value in expected.items():
                check(found[key], value, tolerance, f"{place}/{key}")
        elif isinstance(expected, list):
            assert len(found) == len(expected), place
            for i, (a, b) in enumerate(zip(found, expected, strict=True)):
                check(a, b, tolerance, f"{place}[{i}]")
        elif isinstance(expected, float | int) and not isinstance(expected, bool):
            assert isinstance(found, float | int), f"{place}: {found!r}"
            assert math.isclose(found, expected, rel_tol=0, abs_tol=tolerance), f"{place}: {found} {expected}"
        else:
            assert found == expected, place

    return check


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """Makes a set of two clips in the format of a benchmark, once; its folder."""
    made = {}

    def make(benchmark):
        if benchmark not in made:
            made[benchmark] = tmp_path_factory.mktemp(benchmark)
            size = ("--clips", "2", "--seconds", "30", "--seed", "3")
            assert main(["evaluate", "--data", benchmark, "--make", str(made[benchmark]), *size]) == 0
        return made[benchmark]

    return make


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Runs `stride-ros evaluate` into a folder; gives its score.json, stdout and stderr."""

    def run(benchmark, root, *options, out="run", code=0):
        folder = tmp_path / out
        arguments = ("--data", benchmark, "--root", root, "--out", folder, *options)
        assert main(["evaluate", *map(str, arguments)]) == code
        captured = capsys.readouterr()
        file = folder / "score.json"
        return json.loads(file.read_text()) if file.is_file() else None, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def items_of():
    """The items in the record of a run, as it is written."""

    def read(folder):
        lines = (folder / "run.jsonl").read_text().splitlines()
        return [entry for entry in map(json.loads, lines) if "item" in entry]

    return read


@pytest.fixture(scope="session")
def choose():
    """Lets a server's reply depend on the prompt and on the number of pictures, and on nothing else."""

    def install(server, replies=("A", "B", "No", "Yes", "2")):
        def behaviour():
            content = server.requests[-1]["messages"][-1]["content"]
            key = f"{content[-1]['text']} {len(content)}"
            return f"ok {replies[zlib.crc32(key.encode()) % len(replies)]}"

        server.next_behaviour = behaviour
        return server

    return install
