"""Cancel goals while decisions take seconds: how soon the client has CANCELED, and what delays it."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from stride_ros.action import WaitForEvent
from stride_ros.msg import WatchSpec

from goal_soak.graph import CAMERAS, GOLDEN, RESULT, Camera, Client, WatchLists, start_node, wait, wait_until

QUERIES = ("Say when it happens.", "Tell me when they come.", "Tell me when it rains.")
LIMIT = 0.2  # maximum s that 99 of 100 clients wait


def slow_checkpoint(folder: Path, hidden: int, layers: int) -> None:
    """Write a checkpoint with the golden one's architecture, random weights and these sizes."""
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


class Queueing:
    """Seconds that ready threads waited for a processor, as counted by the kernel."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._before = [self._read(pid) for pid in pids]

    def longest(self) -> list[float]:
        """For each process, the wait of the thread that has waited longest since construction."""
        found = []
        for pid, before in zip(self._pids, self._before, strict=True):
            now = self._read(pid)
            found.append(max((wait - before.get(task, 0.0) for task, wait in now.items()), default=0.0))
        return found

    @staticmethod
    def _read(pid: int) -> dict[str, float]:
        waits: dict[str, float] = {}
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                waits[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
            except OSError:
                continue  # a thread that has ended, or a kernel that does not count
        return waits


def run_cancel(options: argparse.Namespace, folder: Path, node: Any) -> bool:
    """Cancel goals at random moments while decisions are slow."""
    slow_checkpoint(folder / "checkpoint", options.hidden, options.layers)
    names = CAMERAS[: options.cameras] or ("",)
    process = start_node(
        "activation_node",
        folder / "node.log",
        options.nice,
        model=str(folder / "checkpoint"),
        device="cpu",
        query=QUERIES[0],
        max_frames=4,
        **({"cameras": list(names)} if options.cameras else {}),
    )
    rng = random.Random(options.seed)
    watches = WatchLists(node)
    cameras = [Camera(node, name, lambda number: grey(number, 480, 640)) for name in names]
    client = Client(node)
    waited: list[tuple[float, ...]] = []  # s until the client has CANCELED, then the waits of `Queueing`
    wrong = Counter[str]()
    try:
        for camera in cameras:
            camera.start()
        if not wait_until(lambda: len(cameras[0].ticks) >= 2, 300):
            raise SystemExit("There were no two decisions within 300 s.")
        for number in range(options.count):
            query = rng.choice(QUERIES) if rng.random() < 0.5 else f"Tell me when {number} come."
            spec = WatchSpec(query=query, min_active_seconds=12.0, min_confidence=1.0)
            handle, result = client.send(WaitForEvent.Goal(watch=spec))
            time.sleep(rng.uniform(0.0, options.pause))
            queueing, begin = Queueing(process.pid, os.getpid()), time.monotonic()
            client.call(handle.cancel_goal_async)
            answer = wait(result)
            waited.append((time.monotonic() - begin, *queueing.longest()))
            if (answer.status, answer.result.error_code) != (GoalStatus.STATUS_CANCELED, RESULT.CANCELED):
                wrong[f"status {answer.status}, error {answer.result.error_code}"] += 1
            if number % 50 == 49:
                print(f"{number + 1} cancels", flush=True)
        as_before = watches.become(["query"], 30)
    finally:
        process.kill()
    ticks = cameras[0].ticks[2:]
    print(f"decisions: {len(ticks)}, from {min(ticks):.2f} s, median {np.median(ticks):.2f} s")
    p50, p99 = np.percentile([took for took, *_ in waited], [50, 99])
    longest = max(took for took, *_ in waited)
    print(
        f"cancels: {len(waited)}, median {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
        f"longest {longest * 1000:.0f} ms"
    )
    print("the slowest (ms), and how long a thread of the node and of the client waited for a processor:")
    for row in sorted(waited, reverse=True)[: max(5, len(waited) // 100)]:
        print("  ", *(f"{1000 * seconds:6.0f}" for seconds in row))
    print(f"wrong outcomes: {dict(wrong) or 'none'}; watches at the end: {watches.newest}")
    return not wrong and as_before and p99 < LIMIT


def grey(number: int, height: int, width: int) -> np.ndarray:
    """A frame with one grey level."""
    return np.full((height, width, 3), 37 * number % 256, np.uint8)
