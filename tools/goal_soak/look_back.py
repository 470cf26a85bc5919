"""Goals that come 3 s after an event began: half of an early watch, half of a new one that looks back."""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Duration
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationSpan, WatchSpec
from stride_ros.srv import AddWatch

from goal_soak.graph import (
    DEEP_QOS,
    RESULT,
    SECOND,
    Camera,
    Client,
    WatchLists,
    camera_names,
    start_node,
    wait_until,
)
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.text import topics
from stride_ros.world import World

QUERY = "Tell me when a hand is in view."
OTHER = "Tell me when a red ball is on the table."  # of the parameters: it paces the cameras
SIZE = (320, 240)  # px, width and height of the frames
LATE = 3  # frames, of 1 s, from the ONSET to the goal
SOON = 5  # frames until a new watch has caught up at the latest
BACK = 20  # s of look_back
SLOT = SECOND  # ns


class Early:
    """The watch of each camera that was there before the events, and the spans it has told of."""

    def __init__(self, node: Any, client: Client, names: tuple[str, ...]) -> None:
        self.spans: dict[str, dict[int, ActivationSpan]] = {name: {} for name in names}  # newest state, by id
        node.create_subscription(ActivationSpan, topics.SPAN, self._on_span, DEEP_QOS)
        service = node.create_client(AddWatch, "/activation/add_watch")
        service.wait_for_service(60)
        for name in names:
            spec = WatchSpec(id=self.id_of(name), query=QUERY, cameras=[name] if name else [], respond=False)
            answer = client.call(lambda spec=spec: service.call_async(AddWatch.Request(spec=spec)))
            wait_until(answer.done, 60)
            if not answer.result().success:
                raise SystemExit(answer.result().error_msg)

    @staticmethod
    def id_of(name: str) -> str:
        """The id of a camera's early watch."""
        return f"early_{name}" if name else "early"

    def newest(self, name: str) -> ActivationSpan | None:
        """The newest span of a camera."""
        return next(reversed(self.spans[name].values()), None)

    def _on_span(self, span: ActivationSpan) -> None:
        if span.watch == self.id_of(span.camera):
            self.spans[span.camera][span.span_id] = span


class Trial:
    """Goals at events of one camera, alternately of the early watch and of a new one."""

    def __init__(self, camera: Camera, early: Early, client: Client, kinds: Any) -> None:
        self.camera = camera
        self._early, self._client, self._kinds = early, client, kinds
        self._done: set[int] = set()  # spans that have had their goal, or cannot have one

    def due(self) -> ActivationSpan | None:
        """The span that began so many frames ago and goes for a goal now."""
        span = self._early.newest(self.camera.name)
        if span is None or span.span_id in self._done:
            return None
        now = to_nanoseconds(span.onset) + LATE * SECOND
        if now > self.camera.newest:
            return None
        self._done.add(span.span_id)
        on_time = now == self.camera.newest
        return span if on_time and span.state != ActivationSpan.RETRACTED else None

    def ask(self, span: ActivationSpan, play: Any) -> tuple[str, str]:
        """Send the goal of an event; its kind, and what is wrong with its end (empty: nothing)."""
        name, kind = self.camera.name, next(self._kinds)
        back = Duration(sec=BACK)
        spec = WatchSpec(id=self._early.id_of(name), look_back=back)
        if kind == "new":
            # The early one is silent, so that it is not shared.
            spec = WatchSpec(query=QUERY, cameras=[name] if name else [], look_back=back, respond=True)
        _, future = self._client.send(WaitForEvent.Goal(watch=spec, timeout=Duration(sec=600)))
        frames = 0
        while not wait_until(future.done, 0.0 if frames < SOON else 20.0) and frames < SOON:
            play()
            frames += 1
        if not wait_until(future.done, 5.0):
            return kind, f"no end within {SOON} frames"
        result = future.result().result
        newest = self._early.spans[name][span.span_id]
        if result.error_code != RESULT.NONE:
            return kind, f"error {result.error_code}: {result.error_msg}"
        found = result.span
        if kind == "early" and found.span_id != span.span_id:
            return kind, f"span {found.span_id} instead of {span.span_id}"
        apart = abs(to_nanoseconds(found.start) - to_nanoseconds(newest.start))
        if apart > SLOT:
            return kind, f"its start is {apart / SECOND:g} s from the early watch's"
        return kind, ""


def run_look_back(options: argparse.Namespace, folder: Path, node: Any) -> bool:
    """Play worlds until so many events have had their goals."""
    names, cameras_given = camera_names(options.cameras)
    process = start_node(
        "activation_node",
        folder / "node.log",
        options.nice,
        model="stride-tiny",
        device="cpu",
        query=OTHER,
        max_frames=64,
        **cameras_given,
    )
    outcomes, frames = Counter[str](), Counter[str]()
    wrong: list[str] = []
    try:
        client, watches = Client(node), WatchLists(node)
        early = Early(node, client, names)
        kinds = itertools.cycle(("early", "new"))
        trials = []
        for number, name in enumerate(names):
            world = World(options.seed + number, 3600.0, SIZE)
            camera = Camera(node, name, lambda shown, world=world: world.frame(shown % 3600.0))
            trials.append(Trial(camera, early, client, kinds))
        expected = ["query", *(early.id_of(name) for name in names)]
        while sum(outcomes.values()) < options.count:
            for trial in trials:
                trial.camera.show()
                if (span := trial.due()) is None:
                    continue
                kind, fault = trial.ask(span, trial.camera.show)
                outcomes[kind] += 1
                frames[kind] += trial.camera.shown
                if fault:
                    wrong.append(f"{kind}, frame {trial.camera.shown} of {trial.camera.name!r}: {fault}")
                if sum(outcomes.values()) % 10 == 0:
                    print(f"{sum(outcomes.values())} goals, {len(wrong)} wrong", flush=True)
        as_before = watches.become(expected, 30)
    finally:
        process.kill()
    shown = sum(trial.camera.shown for trial in trials)
    print(f"seed {options.seed}; goals: {dict(outcomes)}, over {shown} frames of {len(names)} cameras")
    print(f"wrong: {len(wrong)}")
    for line in wrong:
        print("  ", line)
    print(f"watches at the end: {watches.newest}")
    return not wrong and as_before
