"""`~/enable` and `~/reset` in every state: each request is answered, and a refusal says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from lifecycle_msgs.srv import ChangeState
from std_srvs.srv import SetBool, Trigger

from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.responder_node import ResponderNode

GOLDEN = Path(__file__).parents[1] / "golden"
NODES = {
    "activation": (ActivationNode, {"model": str(GOLDEN / "checkpoint_single"), "device": "cpu"}),
    "responder": (ResponderNode, {"model": str(GOLDEN / "checkpoint_dup"), "remember": False}),
}


@pytest.fixture(params=NODES)
def name(graph: Any, request: pytest.FixtureRequest) -> str:
    node_class, parameters = NODES[request.param]
    graph.host(node_class, parameters)
    return str(request.param)


def test_requests_are_refused_with_a_reason_where_the_node_is_inactive(graph: Any, name: str) -> None:
    for label in ("configure", "activate", "deactivate", "cleanup"):
        assert graph.transition(name, label)
        active = label == "activate"
        for response in (
            graph.call(Trigger, f"/{name}/reset"),
            graph.call(SetBool, f"/{name}/enable", data=False),
            graph.call(SetBool, f"/{name}/enable", data=True),
        ):
            assert response.success == active
            assert ("activate it first" in response.message) != active


def test_requests_amid_transitions_are_all_answered(graph: Any, name: str) -> None:
    change = graph.observer.create_client(ChangeState, f"/{name}/change_state")
    # A client keeps ten answers; the node is asked more than that at once.
    resets = [graph.observer.create_client(Trigger, f"/{name}/reset") for _ in range(3)]
    enables = [graph.observer.create_client(SetBool, f"/{name}/enable") for _ in range(3)]
    for client in (change, *resets, *enables):
        assert client.wait_for_service(60.0)
    for label in ("configure", "activate", "deactivate", "activate", "deactivate", "cleanup"):
        request = ChangeState.Request()
        request.transition.label = label
        changed = change.call_async(request)
        asked = [client.call_async(Trigger.Request()) for _ in range(6) for client in resets]
        asked += [client.call_async(SetBool.Request(data=True)) for _ in range(6) for client in enables]
        for number, future in enumerate([changed, *asked]):
            graph.wait(future.done, f"answer {number} after {label}", 60.0)
        assert changed.result().success
        assert all(future.result().success or future.result().message for future in asked)
