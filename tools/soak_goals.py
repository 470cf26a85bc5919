"""Goals of `wait_for_event` against a node in another process: how soon a cancel ends, and many at once.

    python tools/soak_goals.py cancel --count 500      # while each decision takes seconds
    python tools/soak_goals.py many --seconds 300      # clients that cancel, time out and are killed

`cancel` makes a checkpoint with random weights that is large enough for slow decisions, and prints how long
the clients waited for CANCELED. `many` holds 50 goals open, checks each outcome, that the list of watches is
at the end what it was at the beginning, and that the spans of the watch that the parameters own are those of
a session which saw the same frames alone. Exit code 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
# Clients are killed: the shared memory that they leave may cut processes that come later off from the node.
os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")

import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from action_msgs.msg import GoalStatus  # noqa: E402
from builtin_interfaces.msg import Duration  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from stride_ros.action import WaitForEvent  # noqa: E402
from stride_ros.msg import ActivationSpan, ActivationWindow, Watches, WatchSpec  # noqa: E402

from stride_ros.imaging.images import rgb_to_image  # noqa: E402
from stride_ros.nodes.executor_thread import ExecutorThread  # noqa: E402
from stride_ros.nodes.messages import to_time  # noqa: E402
from stride_ros.nodes.qos import SERVICES_QOS, SPAN_QOS, WATCHES_QOS, WINDOW_QOS  # noqa: E402

GOLDEN = ROOT / "test" / "golden" / "checkpoint_single"
QUERY = "Say when it happens."
QUERIES = (QUERY, "Tell me when they come.", "Tell me when it rains.", "Tell me when a dog barks.")
ORIGIN, SECOND = 1_700_000_000 * 10**9, 10**9
RESULT = WaitForEvent.Result
LATE = 30.0  # s that a result may come after its timeout, on a busy machine


class Camera:
    """Shows a frame when the watch of the parameters has decided on the one before; 1 s apart by stamp."""

    def __init__(self, node: Any, height: int, width: int, pause: float) -> None:
        self.shown = 0
        self.ticks: list[float] = []  # s that each decision took
        self._shape, self._pause = (height, width, 3), pause
        self._decided, self._stopped = threading.Event(), threading.Event()
        self._publisher = node.create_publisher(Image, "image", QoSProfile(depth=10))
        node.create_subscription(ActivationWindow, "activation/window", self._on_window, WINDOW_QOS)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the last frame was decided on."""
        self._stopped.set()
        self._thread.join()

    def _on_window(self, window: ActivationWindow) -> None:
        if window.watch == "query":
            self.ticks.append(window.inference_time)
            self._decided.set()

    def _run(self) -> None:
        while not self._publisher.get_subscription_count():
            time.sleep(0.05)
        while not self._stopped.is_set():
            frame = np.full(self._shape, 37 * self.shown % 256, np.uint8)
            stamp = to_time(ORIGIN + self.shown * SECOND)
            message = rgb_to_image(frame, Header(stamp=stamp))
            self._decided.clear()
            for _ in range(20):  # the first one may be lost; a node ignores the same stamp twice
                self._publisher.publish(message)
                if self._decided.wait(10):
                    break
            else:
                print("A frame was not decided on within 200 s.", file=sys.stderr)
                os._exit(1)
            self.shown += 1
            time.sleep(self._pause)


class Client:
    """Sends goals and waits for what becomes of them, from any thread.

    rclpy is asked in the executor's thread: another one may miss an answer that comes at once.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self._client = ActionClient(node, WaitForEvent, "wait_for_event", **qos)
        if not self._client.wait_for_server(60):
            raise SystemExit("The node has no action wait_for_event.")

    def send(self, goal: WaitForEvent.Goal) -> tuple[Any, Any]:
        """The handle of a goal and the future of its result."""
        handle = wait(self.call(lambda: self._client.send_goal_async(goal)))
        return handle, self.call(handle.get_result_async)

    def call(self, function: Callable[[], Any]) -> Any:
        """What a function returns in the executor's thread."""
        return wait(self._node.executor.create_task(function))


def wait(future: Any, timeout: float = 60.0) -> Any:
    """The result of a future that another thread's executor completes."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(timeout):
        raise SystemExit(f"A future was not done within {timeout:g} s.")
    return future.result()


def slow_checkpoint(folder: Path, hidden: int, layers: int) -> None:
    """Write a checkpoint of the golden one's architecture with random weights and these sizes."""
    from safetensors.torch import save_file

    from stride_ros.activation.random_model import RandomWeights, random_model
    from stride_ros.qwen3_vl import checkpoint

    shutil.copytree(GOLDEN, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    text.update(hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers)
    text.update(num_attention_heads=hidden // 32, num_key_value_heads=hidden // 32)
    vision.update(out_hidden_size=hidden)
    (folder / "config.json").write_text(json.dumps(config))
    saved: dict[str, Any] = {}
    tensor = RandomWeights.tensor

    def keep(self: RandomWeights, name: str, *shape: int) -> Any:
        saved[name] = tensor(self, name, *shape)
        return saved[name]

    RandomWeights.tensor = keep  # type: ignore[method-assign]
    random_model(
        checkpoint.read_architecture(folder),
        checkpoint.read_tokenizer(folder),
        "random",
        device="cpu",
        dtype="float32",
    )
    RandomWeights.tensor = tensor  # type: ignore[method-assign]
    (folder / "model.safetensors").unlink()
    save_file({name: value.contiguous() for name, value in saved.items()}, folder / "model.safetensors")


def start_node(model: Path | str, log: Path, **parameters: Any) -> subprocess.Popen[bytes]:
    """Start the activation node, which configures and activates itself."""
    values = {"model": str(model), "device": "cpu", "query": QUERY, "autostart": True, **parameters}
    arguments = [part for name, value in values.items() for part in ("-p", f"{name}:={json.dumps(value)}")]
    path = os.pathsep.join(entry for entry in (str(ROOT), *sys.path) if entry)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "activation_node"), "--ros-args", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )


def run_cancel(options: argparse.Namespace, folder: Path, node: Any) -> bool:
    """Cancel goals at random moments while decisions are slow."""
    slow_checkpoint(folder / "checkpoint", options.hidden, options.layers)
    process = start_node(folder / "checkpoint", folder / "node.log", max_frames=4)
    rng = random.Random(options.seed)
    watches: list[set[str]] = []
    node.create_subscription(
        Watches, "watches", lambda m: watches.append({w.spec.id for w in m.watches}), WATCHES_QOS
    )
    camera, client = Camera(node, 480, 640, 0.0), Client(node)
    waited, wrong = [], Counter[str]()
    try:
        while len(camera.ticks) < 2:
            time.sleep(0.1)
        for number in range(options.count):
            query = rng.choice(QUERIES) if rng.random() < 0.5 else f"Tell me when {number} come."
            spec = WatchSpec(query=query, min_active_seconds=12.0, min_confidence=1.0)
            handle, result = client.send(WaitForEvent.Goal(watch=spec))
            time.sleep(rng.uniform(0.0, options.pause))
            begin = time.monotonic()
            client.call(handle.cancel_goal_async)
            answer = wait(result)
            waited.append(time.monotonic() - begin)
            if (answer.status, answer.result.error_code) != (GoalStatus.STATUS_CANCELED, RESULT.CANCELED):
                wrong[f"status {answer.status}, error {answer.result.error_code}"] += 1
            if number % 50 == 49:
                print(f"{number + 1} cancels", flush=True)
        deadline = time.monotonic() + 30
        while watches[-1] != {"query"} and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        process.kill()
    ticks = camera.ticks[2:]
    print(f"decisions: {len(ticks)}, from {min(ticks):.2f} s, median {np.median(ticks):.2f} s")
    p50, p99 = np.percentile(waited, [50, 99]) * 1000
    print(
        f"cancels: {len(waited)}, median {p50:.0f} ms, p99 {p99:.0f} ms, longest {max(waited) * 1000:.0f} ms"
    )
    print(f"wrong outcomes: {dict(wrong) or 'none'}; watches at the end: {sorted(watches[-1])}")
    return not wrong and watches[-1] == {"query"} and p99 < 200


def run_client(options: argparse.Namespace, node: Any) -> bool:
    """Keep some goals open, and print what became of each; until this process is killed or told to end."""
    rng, client = random.Random(options.seed), Client(node)
    end = time.monotonic() + options.seconds

    writing = threading.Lock()

    def keep_one(seed: int) -> None:
        own = random.Random(seed)
        while time.monotonic() < end:
            line = json.dumps(one_goal(own, client)) + "\n"
            with writing:  # a line is written in two parts
                sys.stdout.write(line)
                sys.stdout.flush()

    threads = [threading.Thread(target=keep_one, args=(rng.random(),)) for _ in range(options.goals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return True


def one_goal(rng: random.Random, client: Client) -> dict[str, Any]:
    """Send a goal, perhaps cancel it, and judge its end."""
    until, timeout = rng.randrange(2), rng.choice([0.5, 2.0, 8.0, 20.0])
    look_back = Duration(sec=rng.choice([0, 0, 5, 30]))
    query = rng.choice(QUERIES)
    spec = WatchSpec(id="query") if rng.random() < 0.2 else WatchSpec(query=query, look_back=look_back)
    goal = WaitForEvent.Goal(watch=spec, until=until, accept_open=rng.random() < 0.5)
    goal.timeout = Duration(sec=int(timeout), nanosec=int(timeout % 1 * SECOND))
    begin = time.monotonic()
    handle, future = client.send(goal)
    canceled = False
    if rng.random() < 0.4:
        time.sleep(rng.uniform(0.0, timeout))
        canceled = bool(wait(client.call(handle.cancel_goal_async)).goals_canceling)
    answer = wait(future)
    took = time.monotonic() - begin
    code, status, span = answer.result.error_code, answer.status, answer.result.span
    right = {
        RESULT.NONE: status == GoalStatus.STATUS_SUCCEEDED
        and span.span_id > 0
        and (span.state == ActivationSpan.OFFSET or until == 0)
        and not canceled,
        RESULT.TIMEOUT: status == GoalStatus.STATUS_ABORTED and timeout <= took < timeout + LATE,
        RESULT.CANCELED: status == GoalStatus.STATUS_CANCELED and canceled,
    }.get(code, False)
    late = max(0.0, took - timeout) if code == RESULT.TIMEOUT else 0.0
    return {"code": code, "right": bool(right), "took": took, "timeout": timeout, "late": late}


def run_many(options: argparse.Namespace, folder: Path, node: Any) -> bool:
    """Many goals of clients that come and go."""
    process = start_node(GOLDEN, folder / "node.log", **{"unmasking_steps": 4, "trigger.min_confidence": 0.0})
    rng = random.Random(options.seed)
    lists: list[list[str]] = []
    node.create_subscription(
        Watches, "watches", lambda m: lists.append([w.spec.id for w in m.watches]), WATCHES_QOS
    )
    spans: list[ActivationSpan] = []
    node.create_subscription(ActivationSpan, "activation/span", spans.append, SPAN_QOS)
    camera = Camera(node, 48, 64, 0.2)
    lines: list[str] = []
    killed, most = 0, 0
    clients: list[subprocess.Popen[str]] = []

    def start_client(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "client", "--seconds", f"{seconds:.1f}"]
        command += ["--seed", str(rng.randrange(2**31)), "--goals", str(options.goals // options.clients)]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

        def read() -> None:
            assert client.stdout is not None
            for line in client.stdout:
                if line.endswith("\n"):
                    lines.append(line)

        threading.Thread(target=read, daemon=True).start()
        return client

    end = time.monotonic() + options.seconds
    try:
        clients = [start_client(options.seconds) for _ in range(options.clients)]
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, rng.uniform(2.0, 10.0)))
            most = max([most, *(len(ids) for ids in lists)])
            if end - time.monotonic() > 30:
                victim = rng.randrange(len(clients))
                clients[victim].kill()
                clients[victim].wait()
                killed += 1
                clients[victim] = start_client(end - time.monotonic())
            print(f"{len(lines)} goals ended, {killed} clients killed, {camera.shown} frames", flush=True)
        for client in clients:
            client.wait(60)
        deadline = time.monotonic() + 40  # goals of clients that were killed time out
        while lists[-1] != ["query"] and time.monotonic() < deadline:
            time.sleep(0.1)
        camera.stop()
        time.sleep(1.0)
    finally:
        for client in clients:
            client.kill()
        process.kill()
    goals = [json.loads(line) for line in lines]
    names = {0: "succeeded", RESULT.TIMEOUT: "timed out", RESULT.CANCELED: "canceled"}
    outcomes = Counter(names.get(goal["code"], f"error {goal['code']}") for goal in goals)
    wrong = [goal for goal in goals if not goal["right"]]
    expected = alone(camera.shown)
    own = [(s.state, s.start.sec, s.end.sec) for s in spans if s.watch == "query"]
    print(f"goals: {len(goals)}, {dict(outcomes)}; clients killed: {killed}; most watches at once: {most}")
    print(f"wrong outcomes: {len(wrong)} {wrong[:5]}")
    late = [goal["late"] for goal in goals if goal["code"] == RESULT.TIMEOUT] or [0.0]
    print(f"timeouts came late by {np.median(late):.2f} s in the median, {max(late):.2f} s at most")
    print(f"watches at the end: {lists[-1]}")
    print(f"spans of the watch of the parameters: {len(own)}, as alone: {own == expected}")
    print((folder / "node.log").read_text().count("Traceback"), "tracebacks of the node")
    return bool(goals) and not wrong and lists[-1] == ["query"] and own == expected


def alone(count: int) -> list[tuple[int, int, int]]:
    """State, start and end (s) of the spans of a session that sees so many frames with one watch."""
    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.session import ActivationSession

    config = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
    session = ActivationSession(ActivationModel.load(GOLDEN), QUERY, config)
    found = []
    for index in range(count):
        update = session.push(np.full((48, 64, 3), 37 * index % 256, np.uint8), float(index))
        for event in update.events if update else ():
            start, end = (ORIGIN + max(0, round(value * SECOND)) for value in (event.start, event.end))
            found.append((int(event.state), start // SECOND, end // SECOND))
    return found


def main() -> int:
    """Run one of the parts; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("cancel", "many", "client"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500, help="cancels")
    parser.add_argument("--pause", type=float, default=1.0, help="s at most from a goal to its cancel")
    parser.add_argument("--hidden", type=int, default=768, help="size of the slow checkpoint's model")
    parser.add_argument("--layers", type=int, default=12, help="layers of the slow checkpoint's model")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--goals", type=int, default=50, help="goals at once")
    parser.add_argument("--clients", type=int, default=5, help="processes that send them")
    options = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node(f"soak_{os.getpid()}")
    thread = ExecutorThread(node)
    with tempfile.TemporaryDirectory() as name:
        parts = {"cancel": run_cancel, "many": run_many}
        if options.part == "client":
            good = run_client(options, node)
        else:
            good = parts[options.part](options, Path(name), node)
    thread.close()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
