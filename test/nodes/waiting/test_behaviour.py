"""examples/wait_for_event_behaviour.py in a tree: it runs, succeeds, fails, and is canceled by others."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
py_trees = pytest.importorskip("py_trees", reason="py_trees is not installed")

EXAMPLE = Path(__file__).parents[3] / "examples" / "wait_for_event_behaviour.py"
THAT = "Tell me when they come."


@pytest.fixture
def behaviour() -> Any:
    spec = importlib.util.spec_from_file_location("behaviour", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WaitForEvent


@pytest.fixture
def robot(mission: Any) -> Iterator[Any]:
    from stride_ros.client import Robot

    with Robot("", context=mission.graph.context, patience=60.0) as robot:
        yield robot


def test_it_waits_succeeds_and_fails(mission: Any, robot: Any, behaviour: Any) -> None:
    node = behaviour("wait", robot, watch="query")
    mission.play(3)
    node.tick_once()
    assert node.status == py_trees.common.Status.RUNNING

    def ticked() -> bool:
        node.tick_once()
        return node.status != py_trees.common.Status.RUNNING

    mission.play_until(ticked)
    assert node.status == py_trees.common.Status.SUCCESS
    assert node.event.span.watch == "query"
    node = behaviour("fail", robot, watch="nobody")
    mission.graph.wait(ticked, "the refusal")
    assert node.status == py_trees.common.Status.FAILURE
    assert "no watch" in node.feedback_message


def test_a_branch_that_takes_over_cancels_the_goal(mission: Any, robot: Any, behaviour: Any) -> None:
    node = behaviour("wait", robot, THAT, watch="door")
    node.tick_once()
    mission.seen(lambda watches: "door" in watches, "the watch")
    node.stop(py_trees.common.Status.INVALID)
    mission.only_query()
