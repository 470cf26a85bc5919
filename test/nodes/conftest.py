"""A private ROS graph: nodes under test and an observer, over real DDS, isolated from any other graph."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")

AFTER = {  # states by the transition that leads to them
    "configure": "inactive",
    "activate": "active",
    "deactivate": "inactive",
    "cleanup": "unconfigured",
    "shutdown": "finalized",
}
# A client knows a service before the service's process knows the client: on a busy machine the first answer
# may be lost in between. So a question that may be asked twice is, by the same client.
TRIES = 12
TIMEOUT = 120.0  # s; only reached by a test that fails, also on a machine that is busy with other work


class Graph:
    """Hosts nodes in an executor thread of its own context, and observes what is on the topics."""

    def __init__(self) -> None:
        from stride_ros.nodes.executor_thread import ExecutorThread

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.observer = rclpy.create_node("observer", context=self.context)
        self._changed = threading.Condition()
        self._hosted: list[Any] = []
        self._thread = ExecutorThread(self.observer, context=self.context)
        self._executor = self._thread.executor

    def host(self, node_class: Callable[..., Any], parameters: dict[str, Any] | None = None, **options: Any):
        """Make a node of the class under test in this graph."""
        from rclpy.parameter import Parameter

        overrides = [Parameter(name, value=value) for name, value in (parameters or {}).items()]
        node = node_class(context=self.context, parameter_overrides=overrides, **options)
        self._hosted.append(node)
        self._executor.add_node(node)
        return node

    def remove(self, node: Any) -> None:
        """Destroy a hosted node."""
        self._hosted.remove(node)

        def destroy() -> None:
            self._executor.remove_node(node)
            node.destroy_node()

        self.in_executor(destroy)

    def destroy_publisher(self, publisher: Any) -> None:
        """Destroy a publisher of the observer's."""
        self.in_executor(lambda: self.observer.destroy_publisher(publisher))

    def in_executor(self, action: Callable[[], Any]) -> Any:
        """Run this in the executor's thread, which dies when another one destroys what it waits for.

        A client of an action that is asked by another thread may miss an answer that comes at once.
        """
        task = self._executor.create_task(action)
        self.wait(task.done, "the executor")
        return task.result()

    def collect(self, message_type: Any, topic: str, qos: Any = 10) -> list[Any]:
        """Return a list that grows with the messages on a topic."""
        messages: list[Any] = []

        def store(message: Any) -> None:
            with self._changed:
                messages.append(message)
                self._changed.notify_all()

        self.observer.create_subscription(message_type, topic, store, qos)
        return messages

    def publisher(self, message_type: Any, topic: str, qos: Any = 10, subscribers: int = 1) -> Any:
        """Return a publisher that has met this many subscribers."""
        publisher = self.observer.create_publisher(message_type, topic, qos)
        self.wait(lambda: publisher.get_subscription_count() >= subscribers, f"subscribers of {topic}")
        return publisher

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
        """Return the condition's value as soon as it is true; fail with `what` was awaited otherwise."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := condition()):
                if time.monotonic() > deadline:
                    pytest.fail(f"waited {timeout:.0f} s for {what}")
                self._changed.wait(0.02)
        return value

    def send(self, publisher: Any, message: Any, arrived: Callable[[], Any], what: str) -> None:
        """Publish until it has arrived: best effort may lose it; a node ignores the same stamp twice."""
        for _ in range(int(TIMEOUT)):
            publisher.publish(message)
            if self._soon(arrived, 1.0):
                return
        pytest.fail(f"sent {TIMEOUT:.0f} times and waited for {what}")

    def call(self, service_type: Any, name: str, **fields: Any) -> Any:
        """Call a service and return its response."""
        with self._client(service_type, name) as client:
            future = client.call_async(service_type.Request(**fields))
            self.wait(future.done, f"the answer of {name}")
            return future.result()

    def send_goal(self, client: Any, goal: Any) -> Goal:
        """Send a goal of an action, as soon as there is a server."""
        assert client.wait_for_server(TIMEOUT)
        feedback: list[Any] = []
        future = self.in_executor(
            lambda: client.send_goal_async(goal, lambda message: feedback.append(message.feedback))
        )
        self.wait(future.done, "the acceptance")
        assert future.result().accepted, "a refusal has a reason, which only a result can carry"
        return Goal(self, future.result(), feedback)

    @contextlib.contextmanager
    def _client(self, service_type: Any, name: str) -> Iterator[Any]:
        # rmw_fastrtps takes no notice of a server that comes while another one of that name goes, such as a
        # process that was killed: to that client the service never appears, to the next one it does.
        for _ in range(TRIES):
            client = self.observer.create_client(service_type, name)
            found = client.wait_for_service(TIMEOUT / TRIES)
            if found:
                yield client
            self.in_executor(lambda client=client: self.observer.destroy_client(client))
            if found:
                return
        pytest.fail(f"no service {name}")

    def transition(self, node: str, name: str) -> bool:
        """Ask a managed node for a transition by its label; return whether it succeeded."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = name
        before = self.state(node)
        with self._client(ChangeState, f"/{node}/change_state") as client:
            for _ in range(TRIES):
                future = client.call_async(request)
                if self._soon(future.done, TIMEOUT / TRIES):
                    return future.result().success
                state = self.state(node)
                if state != before and state in AFTER.values():
                    return state == AFTER[name]
        pytest.fail(f"asked {TRIES} times for {name} of {node} and got no answer")

    def state(self, node: str) -> str:
        """Return the label of a managed node's state."""
        from lifecycle_msgs.srv import GetState

        with self._client(GetState, f"/{node}/get_state") as client:
            for _ in range(TRIES):
                future = client.call_async(GetState.Request())
                if self._soon(future.done, TIMEOUT / TRIES):
                    return future.result().current_state.label
        pytest.fail(f"asked {TRIES} times for the state of {node} and got no answer")

    def _soon(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Whether the condition becomes true in this time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition() and time.monotonic() < deadline:
                self._changed.wait(0.02)
        return bool(condition())

    def close(self) -> None:
        """Destroy everything and end the executor's thread."""
        self._thread.close(TIMEOUT)
        for node in [*self._hosted, self.observer]:
            node.destroy_node()
        self.context.try_shutdown()


class Goal:
    """A goal that was accepted, with the feedback that came for it."""

    def __init__(self, graph: Any, handle: Any, feedback: list[Any]) -> None:
        self._graph, self.handle, self.feedback = graph, handle, feedback
        self._result = graph.in_executor(handle.get_result_async)

    @property
    def is_over(self) -> bool:
        return bool(self._result.done())

    def end(self) -> Any:
        """The status and result, as soon as they are there: once, since a goal ends once."""
        self._graph.wait(self._result.done, "the result")
        answer = self._result.result()
        return answer.status, answer.result

    def cancel(self) -> Any:
        """Ask for the end; the answer to that."""
        future = self._graph.in_executor(self.handle.cancel_goal_async)
        self._graph.wait(future.done, "the answer to cancel")
        return future.result()

    def reached(self, condition: Callable[[Any], Any], what: str) -> None:
        """Wait for feedback that is as wanted."""
        self._graph.wait(lambda: any(condition(feedback) for feedback in list(self.feedback)), what)


class Processes:
    """Starts node executables as processes of their own, and ends them with the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        script: str,
        *args: str,
        within: Sequence[str] = (),
        stdin: int | None = None,
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Start scripts/<script>, or a script by its whole path; its output goes to `process.log` (a path).

        `within`: a command that starts the command after it somewhere else, such as in a namespace.
        """
        root = Path(__file__).parents[2]
        log = self._folder / f"{Path(script).stem}_{len(self._running)}.log"
        path = os.pathsep.join(entry for entry in (str(root), *sys.path) if entry)
        process = subprocess.Popen(
            [*within, sys.executable, str(root / "scripts" / script), *args],
            stdin=stdin,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
        )
        process.log = log  # type: ignore[attr-defined]
        self._running.append(process)
        return process

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def documented_values() -> Callable[[str], set[str]]:
    """The values that docs/diagnostics.md says a node reports."""

    def values(node: str) -> set[str]:
        page = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text()
        section = page.split(f"\n## {node}\n")[1].split("\n## ")[0]
        rows = section.split("| value | meaning |")[1].splitlines()[2:]
        names = [row.split("|")[1] for row in rows if row.startswith("|")]
        return {name.strip() for row in names for name in row.split(",")}

    return values


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A fresh graph."""
    graph = Graph()
    yield graph
    graph.close()


@pytest.fixture
def driver() -> Iterator[Any]:
    """A node as in another process: one participant of DDS cannot have two types on a topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("driver", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def by_topic() -> Callable[[Path], dict[str, list[Any]]]:
    """Reads the messages of a recording, by topic."""

    def read(bag: Path) -> dict[str, list[Any]]:
        from rosbags.highlevel import AnyReader

        topics: dict[str, list[Any]] = {}
        with AnyReader([bag]) as reader:
            for connection, _, data in reader.messages():
                topics.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
        return topics

    return read


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts node executables as processes."""
    processes = Processes(tmp_path)
    yield processes
    processes.close()
