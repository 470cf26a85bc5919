"""Goals that come 3 s after an event began, with the shipped model; STRIDE_FUZZ=10 tries more worlds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
from builtin_interfaces.msg import Duration
from std_msgs.msg import Header
from stride_ros.msg import ActivationSpan

from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.world import World

pytestmark = pytest.mark.slow
ORIGIN, SECOND = 1_700_000_000 * 10**9, 10**9
SEEDS = range(1, 1 + 3 * int(os.environ.get("STRIDE_FUZZ", "1")))
LATE = 3  # frames from the ONSET to the goals
SOON = 5  # frames until a new watch has caught up


class Watcher:
    """A mission that shows a world at 1 FPS."""

    def __init__(self, mission: Any, world: World) -> None:
        self.mission, self.world, self.second = mission, world, 0

    def show(self) -> None:
        """The next frame, until the watch of the parameters has decided on it."""
        mission = self.mission

        def decided() -> bool:
            return any(
                window.watch == "query" and to_nanoseconds(window.header.stamp) == stamp
                for window in mission.windows[-5:]
            )

        stamp = ORIGIN + self.second * SECOND
        image = rgb_to_image(self.world.frame(float(self.second)), Header(stamp=to_time(stamp)))
        mission.camera.publish(image)
        mission.graph.wait(decided, "the decision")
        self.second += 1

    def spans(self, span_id: int) -> list[Any]:
        return [span for span in self.mission.spans if span.span_id == span_id]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_began_before_the_goal_ends_it(make_mission: Callable[..., Any], seed: int) -> None:
    world = World(seed, 90.0, (320, 240))
    query = world.queries[0]
    mission = make_mission(
        model="stride-tiny", query=query, unmasking_steps=8, **{"trigger.min_confidence": 0.5}
    ).start()
    watcher = Watcher(mission, world)
    onset = None
    while onset is None:
        assert watcher.second < 80, "the model must find one of the events in the world"
        watcher.show()
        begun = [span for span in mission.spans if span.state == ActivationSpan.ONSET]
        if begun:
            for _ in range(LATE):
                watcher.show()
            if watcher.spans(begun[-1].span_id)[-1].state != ActivationSpan.RETRACTED:
                onset = begun[-1]
    back = Duration(sec=20)
    known = mission.goal({"id": "query", "look_back": back}).end()[1].span
    assert known.span_id == onset.span_id
    new = mission.goal({"query": query, "respond": False, "look_back": back})
    for _ in range(SOON):
        if new.is_over:
            break
        watcher.show()
    found = new.end()[1].span
    assert (found.watch != "query", found.query) == (True, query)
    early = watcher.spans(onset.span_id)[-1]
    assert abs(to_nanoseconds(found.start) - to_nanoseconds(early.start)) <= SECOND
    mission.only_query()
