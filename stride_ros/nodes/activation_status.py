"""What the activation node counts, and the rules for OK, WARN and ERROR (docs/diagnostics.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stride_ros.activation.frame_path import DecisionSink
from stride_ros.nodes.diagnostics import Rate, Status, gpu_memory, process_memory
from stride_ros.nodes.image_input import LiveFrame
from stride_ros.nodes.qos import describe_qos, loss_remedy

if TYPE_CHECKING:
    from stride_ros.activation.scheduler import StreamLoad
    from stride_ros.activation.stamped_stream import Decision
    from stride_ros.activation.watch import ActivationUpdate
    from stride_ros.nodes.activation_cameras import Camera
    from stride_ros.nodes.image_input import ImageInput

_RECENT = 10.0  # s; how long a skipped image or a restart is remembered
_STAMP_AGE_LIMITS = (-0.5, 5.0)  # s; outside these, clocks differ or images are late


class CameraStatus:
    """Counters of one camera since the node's start. `dropped`: frames dropped in earlier activations."""

    def __init__(self) -> None:
        self.decisions = Rate()
        self.rejections = self.restarts = self.dropped = 0
        self._rejection = self._restart_reason = ""
        self._rejected_at = self._restarted_at = float("-inf")

    def rejected(self, error: Exception) -> None:
        """Count an image that cannot be used."""
        self.rejections += 1
        self._rejection, self._rejected_at = str(error), time.monotonic()

    def restart(self, reason: str) -> None:
        """Count a restart of the stream."""
        self.restarts += 1
        self._restart_reason, self._restarted_at = reason, time.monotonic()

    def report(
        self, status: Status, camera: Camera, load: StreamLoad | None, rate: float, image_timeout: float
    ) -> None:
        """Add the values of the camera's images, and judge them while they are subscribed to.

        load: how far it is behind, while there is a worker. rate: wanted frames per second.
        """
        source = camera.input
        if source is not None:
            if not source.paused:
                self._judge(status, source, rate, image_timeout)
            status.add("image QoS", describe_qos(source.qos))
            status.add("image publishers", len(source.publishers))
            status.add("input (Hz)", source.received.hertz)
            status.add("sampled (Hz)", source.sampled.hertz)
            status.add("stamp age (s)", source.stamp_age)
            status.add("out of order", source.out_of_order)
            status.add("other clocks", source.ignored)
            status.add("decode (ms)", 1e3 * source.decoding.seconds)
        status.add("decisions (Hz)", self.decisions.hertz)
        status.add("decisions", self.decisions.count)
        status.add("rejected", self.rejections)
        status.add("restarts", self.restarts)
        status.add("before a key frame", camera.notes.count("early"))
        status.add("left out", " ".join(camera.notes.left_out()) or "none")
        status.add("dropped", self.dropped + (load.dropped if load else 0))
        if load is not None:
            status.add("lag (s)", load.lag)

    def _judge(self, status: Status, source: ImageInput, rate: float, image_timeout: float) -> None:
        limit, (low, high) = image_timeout, _STAMP_AGE_LIMITS
        if limit and source.silence > limit:
            status.warn(f"no images on {source.topic} for {source.silence:.0f} s")
        elif limit and source.standstill > limit + 1.0 / rate:
            status.warn(f"the stamps of {source.topic} do not advance; check the camera driver or /clock")
        elif source.is_thin:
            few = f"only {source.received.hertz:.1f} images per second arrive on {source.topic}"
            status.warn(f"{few}; if the camera is faster, {loss_remedy(source.topic, source.qos)}")
        elif source.received.count and not low <= source.stamp_age <= high:
            age = f"stamps are {source.stamp_age:.1f} s old"
            status.warn(f"{age}; check the clocks, or use_sim_time with a bag")
        if clash := source.clash:
            status.warn(clash)
        if pause := source.pulse.recent_pause(_RECENT):
            status.warn(f"the node handled no messages for {pause:.1f} s")
        if (decoding := source.decoding.seconds) > 1.0 / rate:
            status.warn(f"decoding an image takes {decoding:.1f} s; use a smaller image or another encoding")
        now = time.monotonic()
        if now - self._rejected_at < _RECENT:
            status.warn(f"images are skipped: {self._rejection}")
        if now - self._restarted_at < _RECENT:
            status.warn(self._restart_reason)


class ActivationStatus(DecisionSink[LiveFrame]):
    """Counters since the start of the node. The worker's thread writes them, the executor's reads them."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self.failure = ""  # of the last decision; empty once one succeeds
        self.update: ActivationUpdate | None = None  # the last query's; its time covers all queries
        self.cameras = {name: CameraStatus() for name in cameras}
        self._passes: dict[str, int] = {}  # in the last decision, by camera

    @property
    def decisions(self) -> int:
        """Number of frames that were decided on."""
        return sum(camera.decisions.count for camera in self.cameras.values())

    @property
    def restarts(self) -> int:
        """Number of restarts of streams."""
        return sum(camera.restarts for camera in self.cameras.values())

    def decided(self, stream: str, frame: LiveFrame, decisions: Sequence[Decision]) -> None:
        """Count the decision on a frame, made for one or more queries."""
        self.failure = ""
        if decisions:
            self.cameras[stream].decisions.tick()
            self._passes[stream] = sum(decision.update.steps for decision in decisions)
            self.update = decisions[-1].update

    def rejected(self, stream: str, error: Exception) -> None:
        """Count an image that cannot be used."""
        self.cameras[stream].rejected(error)

    def note(self, stream: str, sentence: str) -> None:
        """Count a restart of the stream that was caused by the images."""
        self.cameras[stream].restart(sentence.rstrip("."))

    def report(self, status: Status, rate: float) -> None:
        """Add the values of all cameras together; `rate`: wanted frames per second of one camera."""
        if self.failure:
            status.error(f"decisions fail: {self.failure}")
        if self.update is not None:
            tick = self.update.timings["total"]
            status.add("tick (ms)", 1e3 * tick)
            status.add("passes", sum(self._passes.values()))
            if tick > 1.0 / rate:
                status.warn(f"a decision takes {tick:.1f} s, so only some of the due frames are used")
        status.add("process memory (MB)", process_memory() / 1e6)
        status.add("GPU memory (MB)", gpu_memory() / 1e6)
