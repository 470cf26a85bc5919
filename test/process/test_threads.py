"""CPU threads: what a model works with, who chooses it, and that OpenMP's threads sleep while they wait."""

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from stride_ros.cli import build_parser
from stride_ros.parameters.activation import TABLE as ACTIVATION
from stride_ros.parameters.responder import TABLE as RESPONDER
from stride_ros.process.threads import (
    AUTO,
    SMALL_MODEL,
    add_threads_option,
    available_cores,
    choose_threads,
    prepare_process,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = str(ROOT / "test" / "golden" / "checkpoint_single")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
LARGE = SMALL_MODEL
COMMANDS = {
    "demo": [],
    "replay": ["bag"],
    "train": ["--out", "out", "--data", "world"],
    "evaluate": [],
    "benchmark": [],
    "respond": ["video", "--to", "1", "--query", "Q", "--model", "M"],
}


@pytest.fixture
def nothing_set(monkeypatch):
    for name in (*VARIABLES, "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def run_fresh(code, *arguments, **variables):
    """Run code in a process of its own whose user has set only these variables."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# The choice


def test_a_number_is_taken_as_it_is(nothing_set):
    nothing_set.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads(5, 10, "cpu") == 5


def test_auto_is_one_thread_for_a_small_model_and_beside_a_gpu(nothing_set):
    assert choose_threads(AUTO, SMALL_MODEL - 1, "cpu") == 1
    assert choose_threads(AUTO, LARGE, "cuda:1") == 1


def test_auto_leaves_one_core_to_others_beside_a_large_model(nothing_set):
    nothing_set.setattr("stride_ros.process.threads.available_cores", lambda: 6)
    assert choose_threads(AUTO, LARGE, "cpu") == 5
    nothing_set.setattr("stride_ros.process.threads.available_cores", lambda: 1)
    assert choose_threads(AUTO, LARGE, "cpu") == 1


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "many"}, 1),
        ({"OMP_NUM_THREADS": ""}, 1),
    ],
)
def test_auto_follows_what_the_user_has_set(nothing_set, variables, count):
    for name, value in variables.items():
        nothing_set.setenv(name, value)
    assert choose_threads(AUTO, 10, "cpu") == count


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity (Linux)")
def test_cores_are_those_that_the_process_may_use():
    code = (
        "import os\n"
        "from stride_ros.process.threads import available_cores\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "print(available_cores())"
    )
    assert run_fresh(code).stdout.strip() == "1"
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


# The parameter and the option


@pytest.mark.parametrize("table", [ACTIVATION, RESPONDER])
def test_nodes_have_one_parameter_for_it(table):
    (spec,) = (spec for spec in table if spec.name == "threads")
    assert spec.default == AUTO
    assert spec.limits == (0, 1024)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("words", "value"), [([], AUTO), (["auto"], AUTO), (["3"], 3)])
def test_commands_have_one_option_for_it(command, words, value):
    words = ["--threads", *words] if words else []
    assert build_parser().parse_args([command, *COMMANDS[command], *words]).threads == value


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "all", "9999", ""])
def test_a_wrong_number_is_refused_with_the_remedy(text, capsys):
    parser = argparse.ArgumentParser()
    add_threads_option(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([f"--threads={text}"])
    assert f"use auto or a number from 1 to 1024, not {text!r}" in capsys.readouterr().err


# The environment


def test_waiting_threads_sleep_unless_the_user_says_otherwise(nothing_set):
    nothing_set.setenv("GOMP_SPINCOUNT", "1000")
    prepare_process()
    assert "OMP_WAIT_POLICY" not in os.environ
    nothing_set.delenv("GOMP_SPINCOUNT")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    nothing_set.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_openblas_follows_the_users_number_of_threads(nothing_set):
    nothing_set.setenv("OMP_NUM_THREADS", "4")
    prepare_process()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    nothing_set.delenv("OMP_NUM_THREADS")
    nothing_set.setenv("OPENCV_FOR_THREADS_NUM", "3")
    prepare_process()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.environ["OPENCV_FOR_THREADS_NUM"] == "3"


# Each starts as the entry point does, up to where its model is loaded.
ENTRY_POINTS = {
    "command": "from stride_ros.cli import main; main(sys.argv[1:])",
    "node": (
        "from stride_ros.nodes.runner import run\n"
        "run('stride_ros.nodes.activation_node:ActivationNode', args=['--ros-args', '-p', 'model:=/nowhere'])"
    ),
    "compose": (
        "from stride_ros.nodes.compose import main\n"
        "main(['--nodes', 'responder', '--ros-args', '-p', 'model:=/nowhere'])"
    ),
    "pytest": "import pytest; pytest.main(['-p', 'stride_ros.replay.pytest_plugin', *sys.argv[1:]])",
}


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_openmp_is_loaded_with_passive_waiting(entry, tmp_path):
    pytest.importorskip("torch")
    arguments = []
    if entry in ("node", "compose"):
        pytest.importorskip("rclpy")
    if entry == "command":
        arguments = ["evaluate", "--clips", "1", "--seconds", "1", "--model", "/nowhere"]
    if entry == "pytest":
        test = tmp_path / "test_loads.py"
        test.write_text("def test_loads(stride_model):\n    assert stride_model.threads == 1\n")
        arguments = [str(test), "--stride-model", CHECKPOINT, "-q", "-s", "-p", "no:cacheprovider"]
    # The runtime itself tells, on stderr, when torch loads it.
    result = run_fresh("import sys\n" + ENTRY_POINTS[entry], *arguments, OMP_DISPLAY_ENV="true")
    assert "OMP_WAIT_POLICY" in result.stderr, result.stdout + result.stderr
    policy = next(line for line in result.stderr.splitlines() if "OMP_WAIT_POLICY" in line)
    assert "PASSIVE" in policy
    if entry == "pytest":
        assert "1 passed" in result.stdout


# The model


def push_two(model):
    """Decide on two frames; P(active) of the newest decision."""
    from stride_ros.activation import ActivationSession

    frame = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    session = ActivationSession(model, "Tell me when it happens.")
    session.push(frame, 0.0)
    return session.push(frame[::-1], 1.0).probabilities


def in_a_thread(function):
    """What function() returns in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def threads_after(model):
    import torch

    push_two(model)
    return torch.get_num_threads()


def test_a_model_computes_with_its_own_number_of_threads():
    torch = pytest.importorskip("torch")
    from stride_ros.activation import ActivationModel

    two = ActivationModel.load(CHECKPOINT, device="cpu", threads=2)
    three = ActivationModel.load(CHECKPOINT, device="cpu", threads=3)
    assert (two.threads, three.threads) == (2, 3)
    # As two nodes in one process: each has a thread, and keeps its number whatever the other does.
    both = threading.Barrier(2)

    def work(model):
        first = threads_after(model)
        both.wait()
        assert threads_after(model) == first
        return torch.get_num_threads()

    found = {}
    workers = [
        threading.Thread(target=lambda model=model: found.update({model.threads: work(model)}))
        for model in (two, three)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {2: 2, 3: 3}


def test_a_model_leaves_pytorchs_setting_alone_unless_asked():
    torch = pytest.importorskip("torch")
    from stride_ros.activation import ActivationModel

    model = ActivationModel.load(CHECKPOINT, device="cpu")
    torch.set_num_threads(2)
    assert model.threads is None
    assert threads_after(model) == 2


def test_results_are_those_of_any_number_of_threads():
    pytest.importorskip("torch")
    from stride_ros.activation import ActivationModel

    def results(threads):
        model = ActivationModel.load(CHECKPOINT, threads=threads)
        return [in_a_thread(lambda: push_two(model)) for _ in range(2)]

    one, two = results(1), results(2)
    np.testing.assert_array_equal(one[0], one[1])
    np.testing.assert_array_equal(two[0], two[1])
    np.testing.assert_allclose(one[0], two[0], atol=1e-4)


def test_a_local_responder_computes_with_its_own_number_of_threads():
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from stride_ros.response.backend import ResponseRequest, TimedFrame, load_backend

    backend = load_backend("huggingface", CHECKPOINT, "cpu", max_new_tokens=2, threads=2)
    frame = TimedFrame(np.zeros((64, 64, 3), np.uint8), 0.0)
    found = []
    generate = backend._model.generate
    backend._model.generate = lambda **inputs: found.append(torch.get_num_threads()) or generate(**inputs)
    list(backend.stream(ResponseRequest("Q", (frame, frame), 0.0), lambda: False))
    backend.close()
    assert backend.threads == 2
    assert found == [2]


# A command


def test_a_replay_computes_in_one_native_thread(tmp_path):
    """By default, with a small model: no pool of threads is even started."""
    pytest.importorskip("torch")
    pytest.importorskip("rosbags")
    bag = tmp_path / "bag"
    command = "import sys\n" + ENTRY_POINTS["command"]
    done = run_fresh(command, "world", "--bag", str(bag), "--seconds", "3")
    assert done.returncode == 0, done.stderr
    code = (
        "import os, sys, threading\n"
        "from stride_ros.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "import torch\n"
        "print(code, len(os.listdir('/proc/self/task')), threading.active_count(), file=sys.stderr)"
    )
    command = ["replay", str(bag), "--model", CHECKPOINT, "--query", "Tell me when it happens."]
    result = run_fresh(code, *command)
    assert result.stderr.splitlines()[-1] == "0 1 1", result.stderr


def test_a_replay_gives_the_callers_setting_back(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("rosbags")
    from stride_ros.activation.model import ActivationModel
    from stride_ros.cli import main
    from stride_ros.replay import replay

    bag = tmp_path / "bag"
    assert main(["world", "--bag", str(bag), "--seconds", "3"]) == 0
    found = []
    probabilities = ActivationModel.slot_probabilities

    def watched(self, blocks):
        result = probabilities(self, blocks)
        found.append(torch.get_num_threads())
        return result

    monkeypatch.setattr(ActivationModel, "slot_probabilities", watched)
    torch.set_num_threads(3)
    replay(bag, "Tell me when it happens.", model=CHECKPOINT, threads=2)
    assert set(found) == {2}
    assert torch.get_num_threads() == 3
    found.clear()
    assert main(["replay", str(bag), "--query", "Q", "--model", CHECKPOINT, "--threads", "2"]) == 0
    assert set(found) == {2}
    found.clear()
    assert main(["replay", str(bag), "--query", "Q", "--model", CHECKPOINT, "--set", "threads=4"]) == 0
    assert set(found) == {4}
