"""The cameras of the activation node: whether each is enabled, and their images while the node is active."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from stride_ros.activation.frame_rate import rate_note
from stride_ros.activation.identity import UNNAMED
from stride_ros.activation.notes import StreamNotes
from stride_ros.nodes.image_input import ImageInput, LiveFrame
from stride_ros.parameters.cameras import rate_of, transport_of
from stride_ros.text.wording import of_camera

if TYPE_CHECKING:
    from rclpy.node import Node

    from stride_ros.activation.clock import Reading
    from stride_ros.nodes.activation_worker import ActivationWorker
    from stride_ros.nodes.parameters import Parameters


class Camera:
    """One camera. `notes`: of this activation, or the last one; `input`: only while the node is active."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.enabled = True
        self.notes = StreamNotes()
        self.input: ImageInput | None = None
        self.rate_note: str | None = None  # the last one logged


class ActivationCameras(Mapping[str, Camera]):
    """All cameras by name; a single unnamed camera has the name "". For use in the executor's thread."""

    def __init__(self, node: Node, parameters: Parameters) -> None:
        """Create the cameras that the parameter `cameras` names."""
        self._node, self._parameters = node, parameters
        self._cameras = {name: Camera(name) for name in parameters["cameras"] or (UNNAMED,)}

    def __getitem__(self, name: str) -> Camera:
        return self._cameras[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)

    @property
    def enabled(self) -> frozenset[str]:
        """Names of the cameras whose images are used."""
        return frozenset(name for name, camera in self.items() if camera.enabled)

    def warn_about_rates(self, resolution: float) -> None:
        """Log a warning for each camera whose rate does not fit slots of `resolution` s, once per rate."""
        for name, camera in self.items():
            own = name != UNNAMED and self._parameters[f"{name}.rate"]
            note = rate_note(rate_of(self._parameters, name), resolution, f"{name}.rate:" if own else "rate:")
            if note and note != camera.rate_note:
                self._node.get_logger().warning(of_camera(name, note))
            camera.rate_note = note

    @property
    def are_open(self) -> bool:
        """Whether their images are subscribed to."""
        return any(camera.input is not None for camera in self.values())

    @property
    def notes(self) -> dict[str, StreamNotes]:
        """What was odd about the images of each camera."""
        return {name: camera.notes for name, camera in self.items()}

    def begin_notes(self) -> None:
        """Start new notes for an activation."""
        for camera in self.values():
            camera.notes = StreamNotes()

    def open(
        self,
        worker: ActivationWorker,
        *,
        on_jump: Callable[[str, Reading], None],
        on_rejected: Callable[[str, Exception], None],
    ) -> None:
        """Subscribe to all; due frames go to the worker. ConfigError for invalid QoS overrides."""
        for camera in self.values():
            camera.input = self._open(camera, worker, on_jump, on_rejected)
            camera.input.paused = not camera.enabled

    def close(self) -> None:
        """Unsubscribe from all."""
        for camera in self.values():
            if camera.input is not None:
                camera.input.destroy()
                camera.input = None

    def enable(self, names: Collection[str], wanted: bool) -> list[str]:
        """Use or ignore the images of these cameras; return the names of those for which that changed."""
        changed = [name for name in names if self[name].enabled != wanted]
        for name in changed:
            camera = self[name]
            camera.enabled = wanted
            if camera.input is not None:
                camera.input.paused = not wanted
                camera.input.restart()
        return changed

    def restart(self, names: Collection[str]) -> None:
        """Treat the next frames of these cameras as their first ones."""
        for name in names:
            if (source := self[name].input) is not None:
                source.restart()

    def _open(
        self,
        camera: Camera,
        worker: ActivationWorker,
        on_jump: Callable[[str, Reading], None],
        on_rejected: Callable[[str, Exception], None],
    ) -> ImageInput:
        name = camera.name

        def submit(decode: Callable[[], LiveFrame]) -> None:
            worker.submit(name, decode)

        return ImageInput(
            self._node,
            name,
            transport=transport_of(self._parameters, name),
            rate=lambda: rate_of(self._parameters, name),
            notes=camera.notes,
            on_due=submit,
            on_jump=lambda reading: on_jump(name, reading),
            on_rejected=lambda error: on_rejected(name, error),
        )
