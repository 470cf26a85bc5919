"""The demo's graph: start the nodes, play the source to its end, collect what they publish."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from stride_ros.activation.frame_rate import rate_that_fits
from stride_ros.demo.recorded import add_truth, is_of_world
from stride_ros.errors import BackendError, SourceError
from stride_ros.nodes.camera_node import CameraNode
from stride_ros.nodes.ros_start import start_ros
from stride_ros.nodes.run_listener import TOLD, Listener
from stride_ros.qwen3_vl.checkpoint import BEYOND_EMBEDDED, EMBEDDED, read_architecture
from stride_ros.runs.record import Expected, Run
from stride_ros.terminal import Progress, Style, one_line, say, tell_notes
from stride_ros.text import topics
from stride_ros.text.wording import counted, escaped, length_label, plural

RECORD = "events.json"  # of the run, in the folder of the report
NAMESPACE = f"/{topics.NAMESPACE}"
CAMERA_RATE = 5.0  # Hz in scene time; the activation node uses one frame per slot of the model
_START_LIMIT = 600.0  # s for the models to load; a first download may take long
_QUIET = 1.5  # s without a decision after the last frame, after which no more is expected
_ANSWER_LIMIT = 120.0  # s to wait for the last sentences


@dataclass(frozen=True)
class GraphSettings:
    """What to play and watch for; `seconds` 0 plays all, `responder_model` None leaves out the responder."""

    source: str
    image_topic: str | None
    queries: tuple[str, ...]
    seconds: float
    speed: float
    seed: int
    model: str
    responder_model: str | None
    device: str
    threads: int
    out: Path

    @property
    def log(self) -> Path:
        """What the nodes print."""
        return self.out / "nodes.log"

    @cached_property
    def is_of_world(self) -> bool:
        """Whether the source is the synthetic world, or a recording of it."""
        return is_of_world(self.source, self.image_topic)

    @property
    def beyond_the_model(self) -> bool:
        """Whether the embedded checkpoint is shown something that it was not trained on."""
        return self.model == EMBEDDED and not self.is_of_world


class Graph:
    """The running nodes; a context manager that starts and stops them."""

    def __init__(self, settings: GraphSettings) -> None:
        self._settings = settings
        self._style = Style(sys.stdout)
        self._progress: Progress | None = None
        self._interrupted = False
        self.told = [BEYOND_EMBEDDED] if settings.beyond_the_model else []  # notes that were printed at once

    def __enter__(self) -> Graph:
        self._announce()
        # Ctrl-C must raise KeyboardInterrupt here while ROS still works, to end spans and write the report.
        start_ros(["--ros-args", "--log-level", "error"], signal_handler_options=SignalHandlerOptions.NO)
        self._executor = SingleThreadedExecutor()
        self._listener = Listener(self._expected(), self._print, namespace=NAMESPACE)
        self._executor.add_node(self._listener)
        self._folder = TemporaryDirectory(prefix="stride_demo_")
        try:
            self._camera = self._start_camera()
            self._process = self._start_nodes()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def play(self) -> None:
        """Run until the source has ended and every onset has its answer, or until Ctrl-C."""
        with Progress("Playing", self._settings.seconds or self._length(), "s") as progress:
            self._progress = progress
            try:
                over = self._camera.finished.is_set
                self._wait(lambda: self._listener.begun or over(), _START_LIMIT, "the models to load")
                self._wait(lambda: over() and self._quiet(), None, "")
            except KeyboardInterrupt:
                self._interrupted = True
                self._print("Stopped; ending open spans and writing the report.", "dim")
            if not self._interrupted and self._listener.decisions == 0:
                raise BackendError(f"The nodes made no decision: {self._last_error()}")
            self._end_open_span()
            self._wait(
                self._listener.answered,
                5.0 if self._interrupted else _ANSWER_LIMIT,
                "the last sentence",
                True,
            )
            progress.clear()

    def result(self) -> Run:
        """The record of the run, ready for the report."""
        settings = self._settings
        world = settings.source == "world"
        # Of what was stopped by hand, only what was decided on counts.
        length = 0.0 if self._interrupted else self._camera.length
        run = self._listener.result("the synthetic world" if world else Path(settings.source).name, length)
        run.responder = settings.responder_model or ""
        if world:
            run.source = {"seed": settings.seed}
        run.settings = {
            **self._asked(),
            "model": settings.model,
            "responder model": run.responder or "none",
            "speed": settings.speed,
            "device": settings.device,
        }
        if not world and settings.is_of_world:
            add_truth(run, settings.source, settings.image_topic)
        run.notes += self._camera.notes
        run.notes += self.told
        if self._interrupted:
            run.notes.append(f"The run was stopped by hand after {length_label(run.seconds)}.")
        missed = self._listener.duration() + 1 - self._listener.decisions
        if missed > 0.1 * self._listener.duration():
            were = plural(round(missed), "was", "were")
            run.notes.append(
                f"About {counted(round(missed), 'frame')} {were} not decided on: the machine did not keep up"
                f" with {settings.speed:g}x real time; play slower with --speed."
            )
        return run

    def _asked(self) -> dict[str, str | list[str]]:
        """The queries as parameters of the node."""
        queries = self._settings.queries
        return {"queries": list(queries)} if len(queries) > 1 else {"query": queries[0]}

    def _expected(self) -> dict[str, list[Expected]]:
        """The ground truth for each query, if known."""
        settings = self._settings
        if settings.source != "world":
            return {query: [] for query in settings.queries}
        from stride_ros.world import World

        world = World(settings.seed, settings.seconds, (64, 48))
        return {
            query: [Expected(event.start, event.end, event.text) for event in world.events_for(query)]
            for query in settings.queries
        }

    # Starting and stopping

    def _announce(self) -> None:
        settings, style = self._settings, self._style
        what = f"the synthetic world, seed {settings.seed}" if settings.source == "world" else settings.source
        length = f", {length_label(settings.seconds)}" if settings.seconds else ""
        say(
            f"{style('stride_ros demo', 'bold')}  {escaped(what)}{length} at {settings.speed:g}x real time",
            hang=2,
        )
        for number, query in enumerate(settings.queries):
            say(f"  {'' if number else 'asked':5}   {style(one_line(query), 'cyan')}", hang=10)
        says = f"{settings.responder_model} says what" if settings.responder_model else "no responder"
        say(f"  models  {escaped(f'{settings.model} decides when; {says}')}", hang=10)
        if (settings.out / RECORD).exists():
            earlier = f"{settings.out}, in the place of an earlier one (--out DIR keeps both)"
            say(f"  report  {escaped(earlier)}", hang=10)
        tell_notes(self.told)
        say("")

    def _start_camera(self) -> CameraNode:
        values = {
            "source": self._settings.source,
            "source_topic": self._settings.image_topic or "",
            "rate": CAMERA_RATE,
            "speed": float(self._settings.speed),
            "seconds": float(self._settings.seconds),
            "seed": self._settings.seed,
            "wait_for_subscriber": True,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        camera = CameraNode(namespace=NAMESPACE, parameter_overrides=overrides)
        self._executor.add_node(camera)
        return camera

    def _start_nodes(self) -> subprocess.Popen[bytes]:
        settings = self._settings
        common = {"device": settings.device, "threads": settings.threads}
        activation: dict[str, Any] = {**self._asked(), "model": settings.model, **common}
        folder = Path(settings.model).expanduser()
        if (folder / "config.json").is_file():  # other models are published ones, whose slots are 1 s
            activation["rate"] = min(rate_that_fits(read_architecture(folder).resolution), CAMERA_RATE)
        # At many times real time on a busy machine, images would otherwise be lost.
        image = f"qos_overrides.{topics.under(NAMESPACE, topics.IMAGE)}.subscription"
        activation |= {f"{image}.reliability": "reliable", f"{image}.depth": 10}
        parameters = {"activation": activation}
        nodes = ["activation"]
        if settings.responder_model is not None:
            # The camera starts when the activation node subscribes, which waits for the responder.
            activation["wait_for_responder"] = _START_LIMIT
            nodes.append("responder")
            parameters["responder"] = {"model": settings.responder_model, **common}
        file = Path(self._folder.name, "parameters.yaml")  # JSON is YAML
        tree = {f"{NAMESPACE}/{name}": {"ros__parameters": values} for name, values in parameters.items()}
        file.write_text(json.dumps(tree))
        command = [sys.executable, "-m", "stride_ros.nodes.compose", "--nodes", ",".join(nodes)]
        command += ["--ros-args", "-r", f"__ns:={NAMESPACE}", "--params-file", str(file)]
        with settings.log.open("wb") as log:
            # A separate session: Ctrl-C in the terminal must not end the nodes before their last messages.
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _stop(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name in ("_camera", "_listener"):
            if hasattr(self, name):  # not if it could not be created
                getattr(self, name).destroy_node()
        self._executor.shutdown(timeout_sec=0)
        rclpy.try_shutdown()
        self._folder.cleanup()

    # Waiting

    def _wait(self, done: Callable[[], bool], limit: float | None, what: str, give_up: bool = False) -> None:
        """Spin until `done`. After `limit` (s), raise BackendError, or return if `give_up`."""
        begun = time.monotonic()
        while not done():
            self._executor.spin_once(timeout_sec=0.05)
            if self._process.poll() is not None:
                raise BackendError(f"The nodes exited on their own: {self._last_error()}")
            waited = time.monotonic() - begun
            if self._progress is not None:
                note = f"waiting for {what}" if what else ""
                self._progress.update(self._listener.duration(), note)
            if limit is not None and waited > limit:
                if give_up:
                    return
                raise BackendError(
                    f"Timed out after {limit:.0f} s waiting for {what}; see "
                    f"{self._settings.log}, then try again."
                )

    def _quiet(self) -> bool:
        """Whether all published frames have been decided on."""
        return self._listener.silence() > _QUIET and (
            self._listener.caught_up() or self._listener.silence() > 20.0
        )

    def _end_open_span(self) -> None:
        """Deactivate the activation node, since the end of the stream ends the open span."""
        client = self._listener.create_client(ChangeState, "activation/change_state")
        if not client.wait_for_service(timeout_sec=2.0):
            return
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        future = client.call_async(request)
        self._wait(future.done, 15.0, "the nodes to finish", give_up=True)
        settled = time.monotonic() + 0.3  # the last span may not have arrived yet
        self._wait(lambda: time.monotonic() > settled, None, "")

    def _last_error(self) -> str:
        """The last error in the nodes' log as a sentence."""
        lines = self._settings.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "[ERROR]" in line] or lines[-1:] or ["nothing in their log"]
        text = re.sub(r"^\[ERROR\] \[[^]]*\] \[[^]]*\]: ", "", errors[-1]).strip()
        return text if text.endswith(".") else f"{text}; see {self._settings.log}."

    def _length(self) -> float:
        """Length of the source (s) for the progress bar; 0 if unknown."""
        from stride_ros.sources.video_file import VideoReader

        if not Path(self._settings.source).is_file():
            return 0.0
        try:
            return VideoReader(self._settings.source).end
        except SourceError:
            return 0.0

    def _print(self, text: str, *styles: str) -> None:
        if self._progress is not None:
            self._progress.clear()
        say(text, *styles, hang=TOLD)
