"""Runs launch files for real: upstream's LaunchService in a process of its own, nodes in theirs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
TIMEOUT = 180.0  # s; only reached by a test that fails, also on a machine that is busy with other work
# What `ros2 launch` does with a file and its arguments; the exit code is the service's.
DRIVER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

path, *argv = sys.argv[1:]
given = [argument.split(":=", 1) for argument in argv]
included = IncludeLaunchDescription(AnyLaunchDescriptionSource(path), launch_arguments=given)
service = LaunchService(argv=argv, noninteractive=True)
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


class Launched:
    """A launch that runs; `temporary` is the folder that stands for /tmp in all its processes."""

    def __init__(self, folder: Path, file: Path, arguments: tuple[str, ...]) -> None:
        self._log = folder / "output.txt"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        driver = folder / "driver.py"
        driver.write_text(DRIVER)
        environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "ROS_LOG_DIR": str(folder / "log"),
            "ROS_HOME": str(folder / "home"),
            "TMPDIR": str(self.temporary),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(driver), str(file), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All that was printed so far, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._log.read_text(errors="replace"))

    def until(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until a pattern was printed so many times; return the matches (the group, if there is one)."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            found = re.findall(pattern, self.output)
            if len(found) >= times:
                return found
            if ended:
                break
            time.sleep(0.05)
        pytest.fail(f"not {times} of {pattern!r} in:\n{self.output}")

    def code(self) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self._process.wait(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it still runs:\n{self.output}")

    def interrupt(self) -> int:
        """Ctrl-C; return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.code()

    def pids(self, executable: str) -> list[int]:
        """Process ids of all runs of an executable so far."""
        return [
            int(pid)
            for pid in re.findall(rf"\[{executable}-\d+\]: process started with pid \[(\d+)\]", self.output)
        ]

    def left_behind(self) -> list[Path]:
        """Files in the temporary folder; PyTorch makes an empty folder for its cache there."""
        return [path for path in self.temporary.rglob("*") if not path.is_dir()]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        for pid in re.findall(r"process started with pid \[(\d+)\]", self.output):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """`start(file, "name:=value", ...)` launches a file: a name in launch/, or a path."""
    running: list[Launched] = []

    def start_one(file: str | Path, *arguments: str) -> Launched:
        folder = tmp_path / f"launch{len(running)}"
        folder.mkdir()
        running.append(Launched(folder, LAUNCH / file, arguments))
        return running[-1]

    yield start_one
    for launched in running:
        launched.close()


@pytest.fixture
def graph() -> Iterator[Graph]:
    """The graph of the launched nodes, from outside."""
    pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
    made = Graph()
    yield made
    made.close()


class Graph:
    """Asks nodes for their state and parameters."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("launch_test", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def until_state(self, node: str, state: str) -> None:
        """Wait until a node says that it is in this state."""
        from lifecycle_msgs.srv import GetState

        answer = None
        client = self._node.create_client(GetState, f"{node}/get_state")
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            answer = self._ask(client, GetState.Request())
            if answer is not None and answer.current_state.label == state:
                self._node.destroy_client(client)
                return
        pytest.fail(f"{node} is not {state}: {answer}")

    def parameters(self, node: str, *names: str) -> list[Any]:
        """The values of a node's parameters."""
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        client = self._node.create_client(GetParameters, f"{node}/get_parameters")
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if answer := self._ask(client, GetParameters.Request(names=list(names))):
                return [parameter_value_to_python(value) for value in answer.values]
        pytest.fail(f"{node} does not tell its parameters")

    def _ask(self, client: Any, request: Any) -> Any:
        """The answer, or None when none came: a process that was killed leaves a service for a while."""
        if not client.wait_for_service(timeout_sec=1.0):
            return None
        future = client.call_async(request)
        self._executor.spin_until_future_complete(future, timeout_sec=2.0)
        if future.done():
            return future.result()
        client.remove_pending_request(future)
        return None

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
