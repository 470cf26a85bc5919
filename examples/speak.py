#!/usr/bin/env python3
"""Say each commentary aloud with any text-to-speech command, and stop if it was a false alarm.

    python3 speak.py --ros-args -r __ns:=/stride -p command:="espeak-ng -v en"

The text goes to the command's standard input, or in place of {text} in the command, as in "spd-say --wait --
{text}". It is not passed to a shell. There is one utterance at a time: a text that has waited longer than
`max_wait` is dropped, and a command that takes longer than `timeout` is ended. Commentary published before
the node subscribed is not spoken.
"""

import collections
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from stride_ros.msg import ActivationSpan, Commentary

LIVE = QoSProfile(
    depth=10, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.VOLATILE
)


class Speaker(Node):
    """Speaks final texts from `commentary` until their span is RETRACTED on `activation/span`."""

    def __init__(self, **node_options) -> None:
        super().__init__("speaker", **node_options)
        command = self.declare_parameter("command", "espeak-ng").value
        self._max_wait = self.declare_parameter("max_wait", 10.0).value  # s
        self._timeout = self.declare_parameter("timeout", 60.0).value  # s
        try:
            self._command = shlex.split(command)
        except ValueError:  # an unbalanced quotation mark
            self._command = []
        if not self._command or shutil.which(self._command[0]) is None:
            super().destroy_node()
            raise ValueError(
                f"The command '{command}' was not found; install it, or set the parameter command."
            )
        self._waiting: collections.deque[tuple[int, str, float]] = collections.deque()
        # Topics have no common order: a span's RETRACTED may arrive before its commentary.
        self._retracted: collections.deque[int] = collections.deque(maxlen=100)
        self._speech: subprocess.Popen | None = None
        self._span_id, self._since = 0, 0.0
        self.create_subscription(Commentary, "commentary", self._on_commentary, LIVE)
        self.create_subscription(ActivationSpan, "activation/span", self._on_span, LIVE)
        self.create_timer(0.1, self._speak, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_commentary(self, commentary: Commentary) -> None:
        text = commentary.text.strip()
        wanted = commentary.final and commentary.status == Commentary.OK and text
        if wanted and commentary.span_id not in self._retracted:
            self._waiting.append((commentary.span_id, text, time.monotonic()))
            self._speak()

    def _on_span(self, span: ActivationSpan) -> None:
        if span.state == ActivationSpan.RETRACTED:
            self._retracted.append(span.span_id)
            self._waiting = collections.deque(item for item in self._waiting if item[0] != span.span_id)
            if self._span_id == span.span_id:
                self.silence()
            self._speak()

    def _speak(self) -> None:
        """Start the next utterance when the previous one is over."""
        if self._speech is not None:
            if self._speech.poll() is None and time.monotonic() - self._since < self._timeout:
                return
            if self._speech.returncode is None:
                self.get_logger().warning(f"{self._command[0]} was ended after {self._timeout:.0f} s.")
            elif self._speech.returncode:
                self.get_logger().warning(f"{self._command[0]} ended with status {self._speech.returncode}.")
            self.silence()
        while self._waiting:
            span_id, text, since = self._waiting.popleft()
            if time.monotonic() - since > self._max_wait:
                self.get_logger().info(f"Not said, as it waited longer than {self._max_wait:.0f} s: {text}")
                continue
            try:
                self._speech = self._start(text)
            except OSError as error:
                self.get_logger().error(f"{self._command[0]} cannot be started: {error.strerror}.")
                continue
            self._span_id, self._since = span_id, time.monotonic()
            return

    def _start(self, text: str) -> "subprocess.Popen":
        # A text that begins with a dash must not be read as an option.
        argument = f" {text}" if text.startswith("-") else text
        words = [word.replace("{text}", argument) for word in self._command]
        # A file, since a pipe would block if the command does not read it.
        with tempfile.TemporaryFile() as text_file:
            if not any("{text}" in word for word in self._command):
                text_file.write(f"{text}\n".encode())
                text_file.seek(0)
            # A separate session, so that processes started by the command can be ended with it.
            return subprocess.Popen(words, stdin=text_file, start_new_session=True)

    def silence(self) -> None:
        """Stop speaking at once."""
        if self._speech is not None and self._speech.poll() is None:
            os.killpg(self._speech.pid, signal.SIGKILL)
            self._speech.wait()
        self._speech = None

    def destroy_node(self) -> None:
        """Stop speaking, whatever ends the node."""
        self.silence()
        super().destroy_node()


def main() -> int:
    """Run until a signal; returns the exit code, 2 for a command that does not exist."""
    stopping = threading.Event()  # the timer wakes the executor to look at it
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    code = 0
    try:
        node = Speaker()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not stopping.is_set():
            executor.spin_once()
        node.destroy_node()
    except ValueError as error:
        print(error, file=sys.stderr)
        code = 2
    rclpy.get_default_context().try_shutdown()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
