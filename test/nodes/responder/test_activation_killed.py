"""The real activation node is killed and started again: no span id comes twice, and nothing is said again.

Some lives begin with a clock that was set back. STRIDE_KILLS says how often it is killed (default 2),
STRIDE_KILLS_SEED where to begin.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from stride_ros.msg import ActivationSpan, ActivationWindow, Commentary

from stride_ros.activation.identity import MAX_NUMBER
from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import COMMENTARY_QOS, SPAN_QOS

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("STRIDE_KILLS", "2"))
SEED = int(os.environ.get("STRIDE_KILLS_SEED", "1"))
AROUND = 1.0  # s before a kill in which an ONSET may die with its publisher
SECOND = 10**9  # ns
ORIGIN = 1_700_000_000 * SECOND
CHECKPOINT = Path(__file__).parents[2] / "golden" / "checkpoint_single"
DEEP = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.RELIABLE)


def every(profile: QoSProfile) -> QoSProfile:
    """The profile of a listener that misses nothing."""
    return QoSProfile(depth=5000, reliability=profile.reliability, durability=profile.durability)


class Trial:
    """Both nodes in processes of their own, a camera, and the clock, which is that of the images."""

    def __init__(self, graph: Any, processes: Any, url: str, home: Path, logs: Path) -> None:
        self.graph, self._processes, self._home, self._logs = graph, processes, home, logs
        self.onsets: dict[int, float] = {}  # when each came (s, monotonic), by span id, in order
        self.repeated: list[int] = []  # ids of ONSETs that came again
        self.kills: list[float] = []  # s, monotonic
        self._now = ORIGIN
        self._windows: set[int] = set()  # stamps of decisions of this life
        graph.observer.create_subscription(ActivationSpan, "activation/span", self._on_span, every(SPAN_QOS))
        graph.observer.create_subscription(
            ActivationWindow,
            "activation/window",
            lambda window: self._windows.add(to_nanoseconds(window.header.stamp)),
            DEEP,
        )
        self.said = graph.collect(Commentary, "commentary", every(COMMENTARY_QOS))
        self._clock = graph.observer.create_publisher(Clock, "/clock", 10)
        self._camera = graph.observer.create_publisher(Image, "image", DEEP)
        self.responder = self._start(
            "responder_node", backend="openai", model="tiny", base_url=url, warm_up="false"
        )
        self.begin()

    def begin(self, back: int = 0) -> None:
        """Start the activation node, with the clock set back by so many ns."""
        self._now -= back
        self._clock.publish(Clock(clock=to_time(self._now)))
        self._windows.clear()
        self.activation = self._start(
            "activation_node",
            model=str(CHECKPOINT),
            device="cpu",
            unmasking_steps="4",
            query="Say when it happens.",
            **{"trigger.min_confidence": "0.0"},
        )
        self.graph.wait(self._camera.get_subscription_count, f"the node: {self.activation.log.read_text()}")

    def play(self, count: int) -> None:
        """Show frames, each when the one before was decided on."""
        for number in range(count):
            self._now += SECOND
            frame = np.full((48, 64, 3), 37 * number % 256, np.uint8)
            message = rgb_to_image(frame, Header(stamp=to_time(self._now), frame_id="camera"))
            self._clock.publish(Clock(clock=to_time(self._now)))
            stamp = self._now
            self.graph.send(
                self._camera, message, lambda t=stamp: t in self._windows, self.activation.log.read_text()
            )

    def kill(self) -> None:
        """`kill -9` of the activation node."""
        assert self.activation.poll() is None, self.activation.log.read_text()
        self.kills.append(time.monotonic())
        self.activation.kill()
        self.activation.wait()
        self.graph.wait(lambda: not self._camera.get_subscription_count(), "the node to be gone")

    def finals(self) -> Counter[int]:
        """How many final Commentaries each span has."""
        return Counter(message.span_id for message in list(self.said) if message.final)

    def may_be_lost(self, span_id: int) -> bool:
        return any(0 <= kill - self.onsets[span_id] < AROUND for kill in self.kills)

    def _on_span(self, span: ActivationSpan) -> None:
        if span.state == ActivationSpan.ONSET:
            if span.span_id in self.onsets:
                self.repeated.append(span.span_id)
            self.onsets[span.span_id] = time.monotonic()

    def _start(self, script: str, **values: str) -> Any:
        values["use_sim_time"] = values["autostart"] = "true"
        flags = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
        # Without a folder for its logs no node of ROS starts.
        logs = {"ROS_LOG_DIR": str(self._logs), "ROS_HOME": str(self._home)}
        return self._processes.start(script, "--ros-args", *flags, **logs)


@pytest.mark.parametrize("home", ["writable", "read-only"])
def test_no_id_comes_twice_and_nothing_is_said_again(
    graph: Any, processes: Any, chat_server: Any, tmp_path: Path, home: str
) -> None:
    chance = random.Random(f"{SEED} {home}")
    folder = tmp_path / "home"
    if home == "read-only":
        folder.write_text("a file, below which nobody can make anything, not even root")
        folder /= "below"
    trial = Trial(graph, processes, chat_server.url, folder, tmp_path / "logs")
    set_back = 0
    for _ in range(KILLS):
        trial.play(chance.randint(7, 25))
        trial.kill()
        back = chance.choice([0, chance.randrange(1, 100) * SECOND // 7])
        set_back += back > 0
        trial.begin(back)
    trial.play(12)

    def missing() -> set[int]:
        return {id for id in trial.onsets if id not in trial.finals() and not trial.may_be_lost(id)}

    graph.wait(lambda: trial.onsets and not missing(), "the answers")
    prefixes = [span_id // (MAX_NUMBER + 1) for span_id in trial.onsets]
    lives = [prefix for prefix, _ in itertools.groupby(prefixes)]
    finals = trial.finals()
    print(
        f"\n{KILLS} kills, {set_back} with the clock set back, ROS_HOME {home}: {len(trial.onsets)} onsets "
        f"of {len(lives)} lives, {finals.total()} finals, {len(chat_server.requests)} requests to the model"
    )
    assert trial.repeated == []
    assert len(lives) == KILLS + 1, "each life has had events"
    assert len(set(lives)) == len(lives), "and ids of its own"
    assert finals.keys() <= trial.onsets.keys()
    assert set(finals.values()) == {1}
    assert len(chat_server.requests) <= len(trial.onsets)
    for process in (trial.activation, trial.responder):
        assert "Traceback" not in process.log.read_text()
