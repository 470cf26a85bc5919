"""Nodes as processes of their own: they end in order at every stage, and say why when they cannot start."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402
from stride_ros.msg import ActivationSpan, ActivationWindow, Commentary  # noqa: E402

from stride_ros.imaging.images import rgb_to_image  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.nodes.qos import (  # noqa: E402
    CAMERA_QOS,
    COMMENTARY_QOS,
    FRAMES_QOS,
    SPAN_QOS,
    TEXT_QOS,
    WINDOW_QOS,
)

ORIGIN = 1_700_000_000 * 10**9  # ns
CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
ACTIVATION = [
    "--ros-args",
    *("-p", f"model:={CHECKPOINT}"),
    *("-p", "device:=cpu"),
    *("-p", "unmasking_steps:=2"),
    *("-p", "trigger.min_confidence:=0.0"),
    *("-p", "query:=Tell me when it happens."),
]
RESPONDER = [
    "--ros-args",
    *("-p", f"model:={CHECKPOINT}"),
    *("-p", "device:=cpu"),
    *("-p", "max_new_tokens:=4"),
]


def wait_for_log(process: Any, text: str, timeout: float = 120.0) -> str:
    """Return the process's output once it has this text."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        output = process.log.read_text()
        if text in output:
            return output
        if process.poll() is not None:
            break
        time.sleep(0.02)
    pytest.fail(f"no {text!r} in:\n{process.log.read_text()}")


def wait_for_mask(pid: int, number: signal.Signals) -> None:
    """Wait until the process has blocked the signal, the first thing its program does."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        mask = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
        if mask & 1 << (number - 1):
            return
        time.sleep(0.001)
    pytest.fail("the process never blocked the signal")


def assert_ends_well(process: Any, number: signal.Signals) -> None:
    process.send_signal(number)
    process.send_signal(number)  # launch and the terminal both send it
    assert process.wait(60) == 0, process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def picture(index: int, stamp: int) -> Image:
    """A grey level for each index; with the golden checkpoint they make spans begin, move and end."""
    rgb = np.full((48, 64, 3), (37 * index) % 256, np.uint8)
    return rgb_to_image(rgb, Header(stamp=to_time(stamp), frame_id="camera"))


def play(graph: Any, camera: Any, windows: list[ActivationWindow], count: int) -> None:
    """Publish pictures at 1 FPS, each after the decision on the one before."""
    for i in range(count):
        image = picture(i, ORIGIN + i * 10**9)
        graph.send(camera, image, lambda i=i: len(windows) > i, "a decision")


def test_signal_while_watching_ends_the_open_span(graph: Any, processes: Any) -> None:
    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
    node = processes.start("activation_node", *ACTIVATION)
    camera = graph.publisher(Image, "image", CAMERA_QOS)
    play(graph, camera, windows, 8)
    graph.wait(lambda: spans[-1].state == ActivationSpan.UPDATE, "an open span")
    assert_ends_well(node, signal.SIGINT)
    graph.wait(lambda: spans[-1].state == ActivationSpan.OFFSET, "the end of the open span")


def test_activation_and_responder_keep_their_contracts_between_processes(graph: Any, processes: Any) -> None:
    """A camera at 10 Hz, decisions at 1 FPS: spans keep their life cycle, each ONSET has one final answer."""
    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
    frames = graph.collect(Image, "frames", FRAMES_QOS)
    commentary = graph.collect(Commentary, "commentary", COMMENTARY_QOS)
    texts = graph.collect(String, "commentary/text", TEXT_QOS)
    # Nothing may be lost here, so that the frames that are due are known.
    reliable = ["reliability:=reliable", "depth:=50"]
    overrides = [part for value in reliable for part in ("-p", f"qos_overrides./image.subscription.{value}")]
    # Ten seconds of images take a moment here: an event may be over before the nodes have found each other.
    overrides += ["-p", "wait_for_responder:=120.0"]
    activation = processes.start("activation_node", *ACTIVATION, *overrides)
    responder = processes.start("responder_node", *RESPONDER)
    camera = graph.publisher(Image, "image", QoSProfile(depth=50))
    wait_for_log(responder, "is ready")
    for i in range(100):
        image = picture(i // 10, ORIGIN + i * 10**8)
        if i % 10 == 0:
            graph.send(camera, image, lambda i=i: len(windows) > i // 10, "a decision")
        else:
            camera.publish(image)
    onsets = {span.span_id: span for span in spans if span.state == ActivationSpan.ONSET}
    assert onsets
    graph.wait(lambda: {c.span_id for c in commentary if c.final} == set(onsets), "an answer to each ONSET")
    assert [to_nanoseconds(window.header.stamp) - ORIGIN for window in windows] == [
        i * 10**9 for i in range(10)
    ]
    assert len(frames) == 10
    finals = [answer for answer in commentary if answer.final]
    assert len(finals) == len(onsets), "exactly one final answer each"
    for answer in finals:
        assert answer.header == onsets[answer.span_id].header
        assert answer.status == Commentary.OK, answer.error
        assert answer.text
        assert answer.latency > 0
    graph.wait(lambda: len(texts) == len(finals), "the final texts")
    for span_id, onset in onsets.items():
        states = [span.state for span in spans if span.span_id == span_id]
        assert states[0] == ActivationSpan.ONSET
        assert states.count(ActivationSpan.ONSET) == 1
        assert onset.query == "Tell me when it happens."
    for node in (activation, responder):
        assert_ends_well(node, signal.SIGINT)


def test_the_camera_of_compose_waits_for_the_activation_node(processes: Any, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 64, 3), np.uint8))
    process = processes.start(
        "compose",
        "--nodes",
        "camera,activation",
        *ACTIVATION,
        *("-r", "__ns:=/robot"),
        *("-p", f"source:={tmp_path}"),
    )
    played = wait_for_log(process, "ended after 1 image")
    assert "Loaded" in played, "the image was published while the model was loading"
    assert_ends_well(process, signal.SIGTERM)


def test_compose_refuses_unknown_nodes(processes: Any) -> None:
    process = processes.start("compose", "--nodes", "activation,camera,lidar")
    assert process.wait(120) == 2
    assert "choose from activation, responder, camera" in process.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["import", "load", "spin"])
def test_signal_at_every_stage_exits_zero_without_traceback(
    processes: Any, stage: str, number: signal.Signals
) -> None:
    node = processes.start("activation_node", *ACTIVATION)
    if stage == "import":
        wait_for_mask(node.pid, number)
    else:
        wait_for_log(node, "Loading" if stage == "load" else "Loaded")
    assert_ends_well(node, number)


@pytest.mark.parametrize("state", ["unconfigured", "inactive"])
def test_signal_while_a_manager_has_not_activated_the_node(graph: Any, processes: Any, state: str) -> None:
    node = processes.start("activation_node", *ACTIVATION, "-p", "autostart:=false")
    if state == "inactive":
        assert graph.transition("activation", "configure")
    assert graph.state("activation") == state
    assert_ends_well(node, signal.SIGINT)


def test_signal_while_a_camera_plays(processes: Any) -> None:
    camera = processes.start("camera_node", "--ros-args", "-p", "loop:=true")
    wait_for_log(camera, "Playing")
    assert_ends_well(camera, signal.SIGINT)


def test_signal_in_a_decision_that_does_not_return(graph: Any, processes: Any, tmp_path: Path) -> None:
    """A pass over the window cannot be interrupted: the process leaves without it."""
    script = tmp_path / "hanging_node"
    script.write_text(
        "import threading\n"
        "from stride_ros.activation.engine import ActivationEngine\n"
        "from stride_ros.nodes.activation_node import main\n"
        "ActivationEngine.push = lambda *_: print('deciding', flush=True) or threading.Event().wait()\n"
        "raise SystemExit(main())\n"
    )
    node = processes.start(str(script), *ACTIVATION)
    camera = graph.publisher(Image, "image", CAMERA_QOS)
    graph.send(camera, picture(0, ORIGIN), lambda: "deciding" in node.log.read_text(), "a decision")
    assert_ends_well(node, signal.SIGTERM)


def test_unknown_model_exits_one_with_the_reason(processes: Any, tmp_path: Path) -> None:
    node = processes.start("activation_node", "--ros-args", "-p", f"model:={tmp_path}/missing")
    assert node.wait(120) == 1
    output = node.log.read_text()
    assert "Could not configure" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("script", "parameter", "sentence"),
    [
        ("activation_node", "rate:=1", "must be a double; write it like 1.0"),
        ("activation_node", "max_frames:=1.0", "must be an integer; write it like 128"),
        ("camera_node", "source:=/nowhere.mp4", "does not exist"),
        ("camera_node", "use_sim_time:=soon", "'use_sim_time' must be a boolean; write it like false"),
        ("compose", "use_sim_time:=1", "'use_sim_time' must be a boolean; write it like false"),
    ],
)
def test_wrong_parameter_exits_two_with_the_remedy(
    processes: Any, script: str, parameter: str, sentence: str
) -> None:
    node = processes.start(script, "--ros-args", "-p", parameter)
    assert node.wait(120) == 2
    output = node.log.read_text()
    assert sentence in output
    assert "Traceback" not in output


def test_a_parameter_that_looks_misspelt_is_a_warning(processes: Any, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("/**: {ros__parameters: {trigger: {min_active_second: 2.0}, max_new_tokens: 9}}")
    model = f"model:={tmp_path}/missing"
    node = processes.start("activation_node", "--ros-args", "-p", model, "--params-file", str(file))
    assert node.wait(120) == 1
    output = node.log.read_text()
    assert (
        "no parameter trigger.min_active_second, so it has no effect; perhaps trigger.min_active_seconds"
        in output
    )
    assert output.count("has no effect") == 1
