"""Send goals 3 s after an event began: half for an early watch, half for a new one that looks back."""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationSpan, ActivationWindow, WatchSpec
from stride_ros.srv import AddWatch

from goal_soak.fresh import awaited, first_in_context, fresh_decisions
from goal_soak.graph import (
    DEEP_QOS,
    ORIGIN,
    RESULT,
    SECOND,
    Camera,
    Client,
    WatchLists,
    camera_names,
    start_node,
    wait,
    wait_until,
)
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.model import ActivationModel
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.text import topics
from stride_ros.world import World

MODEL = "stride-tiny"
CONTEXT = 64  # max_frames
QUERY = "Tell me when a hand is in view."
OTHER = "Tell me when a red ball is on the table."  # the watch of the parameters, which paces the cameras
SIZE = (320, 240)  # px, width and height of the frames
LATE = 3  # frames, of 1 s, from the ONSET to the goal
SOON = 5  # frames until a new watch has caught up at the latest
BACK = 20  # s of look_back
SLOT = SECOND  # ns


class Early:
    """The watch of each camera that existed before the events, and its published spans."""

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


@dataclass
class Ask:
    """A goal and its result. before: number of frames shown before it.

    labels: those of each decision of its watch, if new, by number of the frame. found: start (ns) of the span
    with which it ended. fault: the difference from the early watch, or empty.
    """

    kind: str
    camera: str
    before: int
    watch: str = ""
    labels: dict[int, list[int]] = field(default_factory=dict)
    found: int | None = None
    fault: str = ""


class Labels:
    """The labels of all decisions by watch and number of the frame."""

    def __init__(self, node: Any) -> None:
        self._labels: dict[str, dict[int, list[int]]] = {}
        node.create_subscription(ActivationWindow, topics.WINDOW, self._on_window, DEEP_QOS)

    def of(self, watch: str) -> dict[int, list[int]]:
        """The labels of a watch so far."""
        return dict(self._labels.get(watch, {}))

    def _on_window(self, window: ActivationWindow) -> None:
        number = (to_nanoseconds(window.header.stamp) - ORIGIN) // SECOND
        self._labels.setdefault(window.watch, {})[number] = list(window.labels)


class Trial:
    """Goals at events of one camera, alternately for the early watch and a new one."""

    def __init__(
        self, camera: Camera, early: Early, client: Client, watches: WatchLists, labels: Labels, kinds: Any
    ) -> None:
        self.camera = camera
        self._early, self._client, self._watches, self._labels = early, client, watches, labels
        self._kinds = kinds
        self._done: set[int] = set()  # spans that had their goal or cannot have one

    def due(self) -> ActivationSpan | None:
        """The span that began `LATE` frames ago and gets a goal now."""
        span = self._early.newest(self.camera.name)
        if span is None or span.span_id in self._done:
            return None
        now = to_nanoseconds(span.onset) + LATE * SECOND
        if now > self.camera.newest:
            return None
        self._done.add(span.span_id)
        on_time = now == self.camera.newest
        return span if on_time and span.state != ActivationSpan.RETRACTED else None

    def ask(self, span: ActivationSpan, play: Callable[[], None]) -> Ask:
        """Send the goal for an event, and return its result."""
        name, there = self.camera.name, self._watches.newest
        asked = Ask(next(self._kinds), name, self.camera.shown)
        back = Duration(sec=BACK)
        spec = WatchSpec(id=self._early.id_of(name), look_back=back)
        if asked.kind == "new":
            # The early watch does not respond, so that it is not shared.
            spec = WatchSpec(query=QUERY, cameras=[name] if name else [], look_back=back, respond=True)
        handle, future = self._client.send(WaitForEvent.Goal(watch=spec, timeout=Duration(sec=600)))
        if asked.kind == "new":
            added: list[str] = []
            while not added:
                added = [id for id in self._watches.newest if id not in there]
            (asked.watch,) = added
        for _ in range(SOON):
            if wait_until(future.done, 0.0 if asked.kind == "new" else 20.0):
                break
            play()
        if not wait_until(future.done, 5.0):
            asked.fault = f"no end within {SOON} frames"
            self._client.call(handle.cancel_goal_async)  # otherwise the next one would share its watch
        result = wait(future).result
        self._watches.become(there, 30)
        asked.labels = self._labels.of(asked.watch)
        if asked.fault:
            return asked
        newest = self._early.spans[name][span.span_id]
        if result.error_code != RESULT.NONE:
            asked.fault = f"error {result.error_code}: {result.error_msg}"
            return asked
        asked.found = to_nanoseconds(result.span.start)
        apart = abs(asked.found - to_nanoseconds(newest.start))
        if asked.kind == "early" and result.span.span_id != span.span_id:
            asked.fault = f"span {result.span.span_id} instead of {span.span_id}"
        elif apart > SLOT:
            asked.fault = f"its start is {apart / SECOND:g} s from the early watch's"
        return asked


def as_alone(model: ActivationModel, picture: Callable[[int], np.ndarray], ask: Ask) -> tuple[int, bool]:
    """Count decisions with other labels than a fresh session's; also return whether the ends agree."""
    config = ActivationConfig(max_frames=CONTEXT)
    asked = sorted(ask.labels)
    if not asked:
        return 0, False
    # The context may have shifted while the watch caught up.
    begins = {first_in_context(count, config) for count in (ask.before, asked[0])}
    results = []
    for begin in begins:
        updates = fresh_decisions(model, QUERY, config, picture, begin, asked)
        other = sum(
            ask.labels[number] != update.labels.tolist()
            for number, update in zip(asked, updates, strict=True)
        )
        event = awaited(updates, ask.before - 1 - BACK)
        start = None if event is None else ORIGIN + max(0, round(event.start * SECOND))
        results.append((other, start == ask.found))
    return min(results)


def run_look_back(options: argparse.Namespace, folder: Path, node: Any) -> bool:
    """Play worlds until this number of events had their goals."""
    names, cameras_given = camera_names(options.cameras)
    process = start_node(
        "activation_node",
        folder / "node.log",
        options.nice,
        model=MODEL,
        device="cpu",
        query=OTHER,
        max_frames=CONTEXT,
        **cameras_given,
    )
    asks: list[Ask] = []
    pictures: dict[str, Callable[[int], np.ndarray]] = {}
    try:
        client, watches, labels = Client(node), WatchLists(node), Labels(node)
        early = Early(node, client, names)
        expected = ["query", *(early.id_of(name) for name in names)]
        if not watches.become(expected, 60):
            raise SystemExit(f"The watches are {watches.newest} instead of {expected}.")
        kinds = itertools.cycle(("early", "new"))
        trials = []
        for number, name in enumerate(names):
            world = World(options.seed + number, 3600.0, SIZE)
            pictures[name] = lambda shown, world=world: world.frame(shown % 3600.0)
            camera = Camera(node, name, pictures[name])
            trials.append(Trial(camera, early, client, watches, labels, kinds))
        while len(asks) < options.count:
            for trial in trials:
                trial.camera.show()
                if (span := trial.due()) is None:
                    continue
                asks.append(trial.ask(span, trial.camera.show))
                if len(asks) % 10 == 0:
                    print(f"{len(asks)} goals, {sum(bool(ask.fault) for ask in asks)} wrong", flush=True)
        as_before = watches.become(expected, 30)
    finally:
        process.kill()
    shown = sum(trial.camera.shown for trial in trials)
    print(f"seed {options.seed}; {len(asks)} goals over {shown} frames of {len(names)} cameras")
    print(f"watches at the end: {watches.newest}")
    return report(asks, pictures) and as_before


def report(asks: list[Ask], pictures: dict[str, Callable[[int], np.ndarray]]) -> bool:
    """Print how many goals ended with the early watch's span, and whether the others are due to the model.

    A new watch should decide as a session that gets the frames in context and first decides then. It has no
    history, so it may find less, or something else, than a watch that decided all along.
    """
    model = ActivationModel.load(MODEL)
    right, counts = Counter[str](), Counter(ask.kind for ask in asks)
    other = decisions = ends = 0
    for ask in asks:
        right[ask.kind] += not ask.fault
        said = ""
        if ask.kind == "new":
            differ, same = as_alone(model, pictures[ask.camera], ask)
            other, decisions, ends = other + differ, decisions + len(ask.labels), ends + same
            said = f"; a fresh session: {'the same' if same else 'something else'}, {differ} other labels"
        if ask.fault:
            print(f"{ask.kind}, after frame {ask.before} of {ask.camera or 'the camera'}: {ask.fault}{said}")
    for kind in counts:
        print(f"{kind}: {right[kind]} of {counts[kind]} ended with the span of the early watch")
    print(f"new: {ends} of {counts['new']} ended as a fresh session on the same frames would")
    print(f"new: {other} of {decisions} decisions with other labels than a fresh session's")
    return right["early"] == counts["early"] and ends == counts["new"] and not other
