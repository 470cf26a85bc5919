"""The graph of a soak: nodes in separate processes, cameras that wait for decisions, clients of goals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
# Clients are killed, and the shared memory that they leave may cut off others from the node. Limited to this
# host, rmw_fastrtps would use its own transports, including shared memory.
os.environ.setdefault("ROS_LOCALHOST_ONLY", "0")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
# The name before Fast DDS 3, and that since.
for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
    os.environ.setdefault(variable, str(Path(__file__).with_name("udp_only.xml")))

import numpy as np  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from stride_ros.action import WaitForEvent  # noqa: E402
from stride_ros.msg import ActivationWindow, Watches  # noqa: E402

from stride_ros.imaging.images import rgb_to_image  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.nodes.qos import SERVICES_QOS, WATCHES_QOS  # noqa: E402
from stride_ros.text import topics  # noqa: E402

GOLDEN = ROOT / "test" / "golden" / "checkpoint_single"
CAMERAS = ("front", "left", "rear", "right")
ORIGIN, SECOND = 1_700_000_000 * 10**9, 10**9  # ns; stamp of the first frames
RESULT = WaitForEvent.Result
# Deeper than any burst here, so that a delayed subscriber on a busy machine misses nothing.
DEEP_QOS = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.RELIABLE)
PATIENCE = 200.0  # s that a decision may take, even on a busy machine


def wait(future: Any, timeout: float = 60.0) -> Any:
    """Wait for the result of a future that another thread's executor completes."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(timeout):
        raise SystemExit(f"A future was not done within {timeout:g} s.")
    return future.result()


def wait_until(condition: Callable[[], Any], timeout: float) -> bool:
    """Wait for a condition; return whether it becomes true in time (s)."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def camera_names(count: int) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """The names of `count` cameras, and the node's parameter for them; 0: one unnamed camera."""
    names = CAMERAS[:count]
    return names or ("",), {"cameras": list(names)} if names else {}


def start_node(
    script: str, log: Path, niceness: int = 0, environment: dict[str, str] | None = None, **parameters: Any
) -> subprocess.Popen[bytes]:
    """Start a node, which configures and activates itself; `script` is one of scripts/."""
    values = {"autostart": True, **parameters}
    arguments = [part for name, value in values.items() for part in ("-p", f"{name}:={json.dumps(value)}")]
    path = os.pathsep.join(entry for entry in (str(ROOT), *sys.path) if entry)
    return subprocess.Popen(
        [
            "nice",
            "-n",
            str(niceness),
            sys.executable,
            str(ROOT / "scripts" / script),
            "--ros-args",
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        stdout=log.open("ab"),
        stderr=subprocess.STDOUT,
    )


class Camera:
    """Shows frames with stamps 1 s apart, each when the parameters' watch has decided on the previous one."""

    def __init__(
        self,
        node: Any,
        name: str,
        picture: Callable[[int], np.ndarray],
        pause: float = 0.0,
        is_recorded: Callable[[int], bool] = lambda stamp: True,
    ) -> None:
        """`picture(number)`: the frame of this number, (H, W, 3) uint8 RGB. `pause`: s after each one.

        `is_recorded(stamp)`: whether the recorder of the node's `frames` has this one (ns). The next frame
        waits for that, since the node keeps only a few for a delayed subscriber.
        """
        self.name, self.shown = name, 0
        self.ticks: list[float] = []  # s that each decision took
        self._picture, self._pause, self._is_recorded = picture, pause, is_recorded
        self._stamp = 0
        self._decided, self._stopped = threading.Event(), threading.Event()
        self._publisher = node.create_publisher(Image, topics.of_camera(name, topics.IMAGE), DEEP_QOS)
        node.create_subscription(ActivationWindow, topics.WINDOW, self._on_window, DEEP_QOS)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Show frames until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and return when the last frame has been decided on."""
        self._stopped.set()
        self._thread.join()

    @property
    def newest(self) -> int:
        """Stamp (ns) of the newest frame."""
        return self._stamp

    def show(self) -> None:
        """Show the next frame; return when it has been decided on."""
        wait_until(self._publisher.get_subscription_count, PATIENCE)
        self._stamp = ORIGIN + self.shown * SECOND
        message = rgb_to_image(self._picture(self.shown), Header(stamp=to_time(self._stamp)))
        self._decided.clear()
        for _ in range(int(PATIENCE / 10)):  # the first one may be lost; the node ignores a repeated stamp
            self._publisher.publish(message)
            if self._decided.wait(10):
                break
        else:
            print(f"A frame was not decided on within {PATIENCE:g} s.", file=sys.stderr)
            os._exit(1)
        wait_until(lambda: self._is_recorded(self._stamp), PATIENCE)
        self.shown += 1

    def _on_window(self, window: ActivationWindow) -> None:
        if window.watch == "query" and window.camera == self.name:
            self.ticks.append(window.inference_time)
            if to_nanoseconds(window.header.stamp) == self._stamp:
                self._decided.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.show()
            time.sleep(self._pause)


class CountingClient(ActionClient):  # type: ignore[misc]  # untyped library
    """Counts the answers to each request for a result."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.answers: Counter[int] = Counter()
        super().__init__(*args, **options)

    async def execute(self, taken_data: Any) -> None:
        """See rclpy's ActionClient."""
        if "result" in taken_data:
            self.answers[taken_data["result"][0]] += 1
        await super().execute(taken_data)


class Client:
    """Sends goals and waits for their results, from any thread.

    rclpy is called in the executor's thread, since other threads may miss an answer that comes at once.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self._client = CountingClient(node, WaitForEvent, topics.WAIT_FOR_EVENT, **qos)
        if not self._client.wait_for_server(120):
            raise SystemExit(f"The node has no action {topics.WAIT_FOR_EVENT}.")

    @property
    def answers(self) -> Counter[int]:
        """The number of results by how often they came, which should be once."""
        return Counter(self._client.answers.values())

    def send(self, goal: WaitForEvent.Goal) -> tuple[Any, Any]:
        """Send a goal; return its handle and the future of its result."""
        handle = wait(self.call(lambda: self._client.send_goal_async(goal)))
        return handle, self.call(handle.get_result_async)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the executor's thread and return its result."""
        return wait(self._node.executor.create_task(function))


class WatchLists:
    """The lists of watches that a node publishes."""

    def __init__(self, node: Any) -> None:
        self.newest: list[str] = []
        self.longest = 0
        node.create_subscription(Watches, topics.WATCHES, self._on_list, WATCHES_QOS)

    def become(self, ids: Sequence[str], timeout: float) -> bool:
        """Wait for this list; return whether it came in time (s)."""
        return wait_until(lambda: self.newest == list(ids), timeout)

    def _on_list(self, message: Watches) -> None:
        self.newest = [watch.spec.id for watch in message.watches]
        self.longest = max(self.longest, len(self.newest))
