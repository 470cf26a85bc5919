"""examples/patrol.py turns until an event begins, stops, asks, and goes on after its end."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
from geometry_msgs.msg import Twist

from stride_ros.nodes.responder_node import ResponderNode

EXAMPLE = Path(__file__).parents[3] / "examples" / "patrol.py"


@pytest.fixture
def patrol() -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location("patrol", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Patrol


def test_a_patrol_stops_for_somebody_asks_and_goes_on(
    mission: Any, patrol: Callable[..., Any], chat_server: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    graph = mission.graph
    server = {"backend": "openai", "base_url": chat_server.url, "model": "tiny", "warm_up": False}
    graph.host(ResponderNode, {**server, "respond_on": "offset"})
    for label in ("configure", "activate"):
        assert graph.transition("responder", label)
    graph.wait(lambda: mission.node.count_subscribers("frames"), "the responder's subscription")
    commands = graph.collect(Twist, "cmd_vel", 10)
    node = graph.host(patrol, {"query": "Say when it happens.", "turn": 0.25})

    def turns(speed: float) -> Callable[[], bool]:
        return lambda: bool(commands) and commands[-1].angular.z == speed

    def questions() -> int:
        texts = [str(request["messages"][-1]["content"]) for request in chat_server.requests]
        return sum("What does the person carry?" in text for text in texts)

    graph.wait(turns(0.25), "turning")
    mission.play(7)
    graph.wait(questions, "its question")

    def drives() -> list[float]:
        """The speeds from the first turn on, without repetitions."""
        speeds = [command.angular.z for command in commands]
        return [speed for speed, _ in itertools.groupby(speeds[speeds.index(0.25) :])]

    mission.play_until(lambda: drives()[:3] == [0.25, 0.0, 0.25])
    graph.remove(node)
    graph.wait(turns(0.0), "standing still")
    mission.only_query()
