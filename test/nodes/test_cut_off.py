"""A participant that is cut off: the network between camera and node goes down, and comes up again."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
from stride_ros.activation.config import ActivationConfig, TriggerConfig  # noqa: E402
from stride_ros.activation.model import ActivationModel  # noqa: E402
from stride_ros.activation.stamped_engine import StampedEngine  # noqa: E402
from stride_ros.activation.watch_request import requests_for  # noqa: E402

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
QUERY = "Tell me when it happens."
SECOND = 10**9  # ns
SPEED = 4  # scene seconds in a second

# Runs inside a network namespace and holds it open: sets the loopback interface as told, line by line.
HOLDER = """
import fcntl, socket, struct, sys
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS (linux/sockios.h), IFF_UP
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    for word in map(str.strip, sys.stdin):
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, GET_FLAGS, request))[1]
        flags = flags | UP if word == "join" else flags & ~UP
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sh14x", b"lo", flags))
        print("done", flush=True)
"""

# UDP only, because shared memory passes by every interface.
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds><profiles xmlns="http://www.eprosima.com">
  <transport_descriptors>
    <transport_descriptor><transport_id>udp</transport_id><type>UDPv4</type></transport_descriptor>
  </transport_descriptors>
  <participant profile_name="udp_only" is_default_profile="true">
    <rtps>
      <userTransports><transport_id>udp</transport_id></userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
      <builtin><discovery_config>
        <leaseDuration><sec>{lease}</sec></leaseDuration>
        <leaseAnnouncement><sec>1</sec></leaseAnnouncement>
      </discovery_config></builtin>
    </rtps>
  </participant>
</profiles></dds>
"""


class Island:
    """A network namespace with a loopback interface alone, which can be cut and joined again."""

    def __init__(self) -> None:
        """Skips the test where the machine makes no such namespace."""
        command = ["unshare", "--map-root-user", "--net", sys.executable, "-S", "-c", HOLDER]
        pipe = subprocess.PIPE
        try:
            self._holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        except FileNotFoundError:
            pytest.skip("no network namespace: `unshare` of util-linux is missing")
        try:
            self.join()
        except OSError:
            pytest.skip(f"no network namespace: {self._holder.communicate()[1].strip()}")
        self.enter = ["nsenter", "--user", "--net", "--preserve-credentials", f"--target={self._holder.pid}"]

    def cut(self) -> None:
        """Take the interface down: no packet passes between any two processes."""
        self._tell("cut")

    def join(self) -> None:
        """Bring the interface up."""
        self._tell("join")

    def close(self) -> None:
        """The namespace ends with the last process in it."""
        self._holder.communicate()

    def _tell(self, word: str) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(word + "\n")
        self._holder.stdin.flush()
        if self._holder.stdout.readline() != "done\n":
            raise OSError(f"cannot {word} the network")


class Recording:
    """What the recorder on the island has written."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All records of a kind, oldest first; a line that is still being written is left out."""
        lines = self._log.read_text().split("\n")[:-1]
        records = [json.loads(line) for line in lines if line.startswith("{")]  # not what the middleware says
        return [record for record in records if record["kind"] == kind]


@pytest.fixture
def island() -> Iterator[Island]:
    island = Island()
    yield island
    island.close()


def expected(frames: list[dict[str, Any]]) -> tuple[list[list[int]], list[tuple[int, ...]]]:
    """The labels of each window and all span events of a stream that sees these frames with no network."""
    config = ActivationConfig(unmasking_steps=2, trigger=TriggerConfig(min_confidence=0.0))
    engine = StampedEngine(ActivationModel.load(CHECKPOINT), requests_for([QUERY]), config)
    labels, events = [], []
    for frame in frames:
        rgb = np.frombuffer(base64.b64decode(frame["pixels"]), np.uint8).reshape(frame["shape"])
        if engine.lost_sight("", frame["stamp"]) is not None:
            events += engine.restart("")
        (decision,) = engine.push({"": (rgb, frame["stamp"])}).decisions[""]
        labels.append(decision.update.labels.tolist())
        events += decision.events
    return labels, [(e.event.span_id, int(e.event.state), e.start_ns, e.end_ns) for e in events]


@pytest.mark.parametrize(
    ("lease", "image_timeout", "reason"),
    [
        pytest.param(300, 0.3, "match in QoS but nothing arrives", id="a moment"),
        pytest.param(5, 8.0, "it has no publishers", id="until DDS forgets the camera"),
    ],
)
def test_cut_off_camera_is_told_and_watching_goes_on(
    graph: Any, processes: Any, island: Island, tmp_path: Path, lease: int, image_timeout: float, reason: str
) -> None:
    """Camera and node are processes that see each other over UDP only; then over nothing; then again."""
    for i in range(60):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), (37 * i) % 256, np.uint8))
    profile = tmp_path / "udp_only.xml"
    profile.write_text(PROFILE.format(lease=lease))
    environment = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),  # its name before Fast DDS 3
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        # Kept to this host, rmw_fastrtps would bring transports of its own, shared memory among them.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
        "ROS_LOCALHOST_ONLY": "0",
    }

    def start(script: str, **parameters: object) -> Any:
        arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        arguments = ["--ros-args", *arguments] if arguments else []
        return processes.start(script, *arguments, within=island.enter, **environment)

    def wait(condition: Callable[[], Any], what: str) -> Any:
        return graph.wait(condition, f"{what}; the node said:\n{node.log.read_text()}")

    watching: dict[str, Any] = {
        "trigger.min_confidence": 0.0,
        "unmasking_steps": 2,
        "image_timeout": image_timeout,
    }
    # Reliably, what the camera sent last would still arrive after a moment.
    watching |= {"qos_overrides./image.subscription.reliability": "best_effort"} if lease > 60 else {}
    recorded = {"model": CHECKPOINT, "device": "cpu", "query": f"'{QUERY}'", **watching}
    node = start("../test/nodes/recorder.py", **recorded)
    recording = Recording(node.log)
    wait(lambda: recording.of("ready"), "the node to start")
    start(
        "camera_node", source=tmp_path, rate=1.0, speed=float(SPEED), loop="true", wait_for_subscriber="true"
    )
    wait(lambda: len(recording.of("window")) >= 14, "decisions")
    before = len(recording.of("window"))
    wait(lambda: len(recording.of("window")) > before, "one more decision")  # none is under way now
    said = len(node.log.read_text())  # perhaps that nobody published before the camera was up
    island.cut()
    wait(lambda: reason in node.log.read_text()[said:], f"a warning with {reason!r}")
    island.join()
    wait(lambda: len(recording.of("window")) >= before + 14, "decisions to go on")

    wait(lambda: len(recording.of("frame")) >= before + 14, "their frames")
    windows = recording.of("window")[: before + 14]
    frames = recording.of("frame")[: before + 14]
    stamps = [window["stamp"] for window in windows]
    assert stamps == [frame["stamp"] for frame in frames], "each frame is decided once"
    steps = np.diff(stamps)
    assert (steps > 0).all()
    assert not (steps % SECOND).any(), "the camera's grid of stamps is kept"
    assert steps.max() >= SPEED * image_timeout * SECOND, "images were really lost"
    labels, events = expected(frames)
    assert [window["labels"] for window in windows] == labels
    assert events, "the pictures must make spans"
    wait(lambda: len(recording.of("span")) >= len(events), "all spans")
    spans = recording.of("span")[: len(events)]
    assert [(s["span_id"], s["state"], s["start"], s["end"]) for s in spans] == events
