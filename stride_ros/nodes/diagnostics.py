"""What a node reports about itself on /diagnostics once a second."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType

from stride_ros.nodes.qos import DIAGNOSTICS_QOS
from stride_ros.text import topics
from stride_ros.text.foreign import as_reason

if TYPE_CHECKING:
    from rclpy.node import Node


class Status:
    """One status: the worst reported level, all reasons for it, and values, each of limited length."""

    def __init__(self) -> None:
        self.level = 0
        self._reasons: list[tuple[int, str]] = []
        self.values: dict[str, str] = {}

    def warn(self, reason: str) -> None:
        self._report(1, reason)

    def error(self, reason: str) -> None:
        self._report(2, reason)

    def add(self, key: str, value: object) -> None:
        """Add a value; floats are shown with three decimals. Put the unit in the key: 'tick (ms)'."""
        self.values[key] = f"{value:.3f}" if isinstance(value, float) else as_reason(str(value))

    @property
    def message(self) -> str:
        worst = [reason for level, reason in self._reasons if level == self.level]
        return as_reason("; ".join(worst)) or "OK"

    def _report(self, level: int, reason: str) -> None:
        self.level = max(self.level, level)
        self._reasons.append((level, as_reason(reason)))


class Diagnostics:
    """Publishes a status each second of real time, even when simulated time stands still."""

    def __init__(
        self, node: Node, fill: Callable[[Status], Mapping[str, Status] | None], hardware_id: str = ""
    ) -> None:
        """`fill(status)` reports the node's state; it runs in the executor's thread and must not block.

        It may return further statuses, by the names of parts of the node.
        """
        self._node = node
        self._fill = fill
        self._hardware_id = hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, DIAGNOSTICS_QOS)
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(1.0, self.publish, clock=self._clock)

    def publish(self) -> None:
        status = Status()
        parts = self._fill(status) or {}
        name = self._node.get_fully_qualified_name().lstrip("/")
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [
            DiagnosticStatus(
                level=bytes([state.level]),
                name=f"{name}: {part}",
                message=state.message,
                hardware_id=self._hardware_id,
                values=[KeyValue(key=key, value=value) for key, value in state.values.items()],
            )
            for part, state in {"status": status, **parts}.items()
        ]
        self._publisher.publish(message)

    def destroy(self) -> None:
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)


class Rate:
    """Events per second over the last `window` seconds of real time; safe to use from several threads."""

    def __init__(self, window: float = 10.0) -> None:
        self._window = window
        self._times: deque[float] = deque()
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self.count = 0

    def tick(self) -> None:
        with self._lock:
            self.count += 1
            self._times.append(time.monotonic())
            self._forget()

    @property
    def hertz(self) -> float:
        with self._lock:
            self._forget()
            span = min(self._window, time.monotonic() - self._started)
            return len(self._times) / span if span > 0 else 0.0

    def _forget(self) -> None:
        oldest = time.monotonic() - self._window
        while self._times and self._times[0] < oldest:
            self._times.popleft()


def process_memory() -> int:
    """Return the resident memory of this process in bytes (0 where /proc is missing)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def gpu_memory() -> int:
    """Return the GPU memory that torch holds in bytes, 0 without a GPU; does not import torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.memory_reserved())
