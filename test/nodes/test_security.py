"""The SROS2 policy allows what the nodes use and nothing else; no pickles, no code from checkpoints."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from stride_ros.nodes import compose  # noqa: E402
from stride_ros.nodes.activation_node import ActivationNode  # noqa: E402
from stride_ros.nodes.camera_node import CameraNode  # noqa: E402
from stride_ros.nodes.event_log_node import EventLogNode  # noqa: E402
from stride_ros.nodes.responder_node import ResponderNode  # noqa: E402
from stride_ros.parameters import activation, camera, event_log, responder  # noqa: E402
from stride_ros.parameters.table import START  # noqa: E402

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "config" / "sros2_policy.xml"
CHECKPOINT = str(ROOT / "test" / "golden" / "checkpoint_single")
TINY = {"model": CHECKPOINT, "device": "cpu"}
NODES = {
    "activation": (ActivationNode, TINY),
    "responder": (ResponderNode, TINY),
    "event_log": (EventLogNode, {}),
    "camera": (CameraNode, {"rate": 1.0, "width": 64, "height": 48}),
}
TABLES = {
    "activation": activation.TABLE,
    "responder": responder.TABLE,
    "event_log": event_log.TABLE,
    "camera": camera.TABLE,
}
# What is to be allowed for each of several cameras, as the policy's comment says.
OF_A_CAMERA = {
    "activation": {"{}/frames", "{}/activation/image", "~/{}/enable", "~/{}/reset", "{}/image"},
    "responder": {"{}/frames"},
    "event_log": {"{}/frames"},
}
INSTEAD_OF = {"frames", "activation/image", "/camera/image_raw"}
# Used only with a parameter set, or on some distributions.
OPTIONAL = {
    "/camera/image_raw/compressed",
    "commentary",  # while a goal wants it
    "/tf",  # where tf2_ros is installed
    "/tf_static",
    "/clock",
    "/parameter_events",
    "~/get_type_description",
    "~/get_transition_graph",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in the user's own."""
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "home"))


# What an action is made of.
ASKED, TOLD = ("send_goal", "get_result", "cancel_goal"), ("feedback", "status")


def policy(node: str) -> dict[tuple[str, str], set[str]]:
    """What the policy allows a node: (topic or service, publish, subscribe or reply) -> full names."""
    tree = ElementTree.parse(POLICY)
    profile = tree.find(f".//enclave[@path='/stride/{node}']/profiles/profile")
    assert profile is not None
    assert profile.attrib == {"ns": "/stride", "node": node}
    allowed: dict[tuple[str, str], set[str]] = {}
    for group in profile:
        ((action, verdict),) = group.attrib.items()
        assert verdict == "ALLOW"
        names = {full_name(str(entry.text), node) for entry in group}
        if group.tag == "actions":
            assert action == "execute"
            allowed["service", "reply"] |= {f"{name}/_action/{part}" for name in names for part in ASKED}
            allowed["topic", "publish"] |= {f"{name}/_action/{part}" for name in names for part in TOLD}
        else:
            allowed[group.tag.rstrip("s"), action] = names
    return allowed


def full_name(name: str, node: str) -> str:
    if name.startswith("~"):
        return f"/stride/{node}{name[1:]}"
    return name if name.startswith("/") else f"/stride/{name}"


@pytest.mark.parametrize("node", list(NODES))
def test_policy_matches_the_graph(graph: Any, node: str) -> None:
    node_class, parameters = NODES[node]
    remap = ["--ros-args", "-r", "image:=/camera/image_raw"]
    hosted = graph.host(node_class, parameters, namespace="/stride", cli_args=remap)
    if node != "camera":
        assert graph.transition(f"stride/{node}", "configure")
        assert graph.transition(f"stride/{node}", "activate")
    used = {
        ("topic", "publish"): hosted.get_publisher_names_and_types_by_node(node, "/stride"),
        ("topic", "subscribe"): hosted.get_subscriber_names_and_types_by_node(node, "/stride"),
        ("service", "reply"): hosted.get_service_names_and_types_by_node(node, "/stride"),
    }
    allowed = policy(node)
    optional = {full_name(name, node) for name in OPTIONAL}
    for kind, entries in used.items():
        names = {name for name, _ in entries}
        assert names <= allowed[kind], f"{kind}: the policy forbids {names - allowed[kind]}"
        surplus = allowed[kind] - names - optional
        assert not surplus, f"{kind}: the policy allows what is not used: {surplus}"


@pytest.mark.parametrize("node", list(OF_A_CAMERA))
def test_what_several_cameras_need_beyond_the_policy(graph: Any, node: str) -> None:
    node_class, parameters = NODES[node]
    hosted = graph.host(node_class, {**parameters, "cameras": ["front", "left"]}, namespace="/stride")
    assert graph.transition(f"stride/{node}", "configure")
    assert graph.transition(f"stride/{node}", "activate")
    used = {
        name
        for entries in (
            hosted.get_publisher_names_and_types_by_node(node, "/stride"),
            hosted.get_subscriber_names_and_types_by_node(node, "/stride"),
            hosted.get_service_names_and_types_by_node(node, "/stride"),
        )
        for name, _ in entries
    }
    more = used - set().union(*policy(node).values())
    expected = {name.format(camera) for name in OF_A_CAMERA[node] for camera in ("front", "left")}
    assert more == {full_name(name, node) for name in expected}
    assert not used & {full_name(name, node) for name in INSTEAD_OF}
    comment = " ".join(POLICY.read_text().partition("<policy")[0].split())
    for name in OF_A_CAMERA[node] - {"{}/image"}:
        assert name.format("front") in comment, name


def test_compose_may_do_what_its_nodes_may() -> None:
    """A process has one enclave, whatever runs in it."""
    tree = ElementTree.parse(POLICY)
    composed = tree.findall(".//enclave[@path='/stride/compose']/profiles/profile")
    alone = [tree.find(f".//enclave[@path='/stride/{node}']/profiles/profile") for node in NODES]
    assert {node.attrib["node"] for node in composed} == set(compose.NODES) == set(NODES)
    assert sorted(map(canonical, composed)) == sorted(canonical(node) for node in alone if node is not None)


def canonical(node: ElementTree.Element) -> str:
    return ElementTree.canonicalize(ElementTree.tostring(node, encoding="unicode"), strip_text=True)


def test_policy_follows_the_schema_of_sros2() -> None:
    policy = pytest.importorskip(
        "sros2.policy", reason="sros2 is not installed: it comes with ROS 2's desktop"
    )
    policy.load_policy(POLICY)


@pytest.mark.parametrize("node", list(TABLES))
def test_what_is_fixed_at_the_start_cannot_be_set(graph: Any, node: str) -> None:
    """Sources, files, addresses and the names of keys: whoever may set parameters cannot turn them round."""
    from rclpy.parameter import Parameter

    node_class, parameters = NODES[node]
    hosted = graph.host(node_class, parameters)
    fixed = [spec for spec in TABLES[node] if spec.applies == START and hosted.has_parameter(spec.name)]
    assert fixed
    for spec in fixed:
        kind = type(spec.default)
        other = {str: "/etc/passwd", bool: not spec.default, int: 7, float: 7.5, tuple: ["x"]}[kind]
        before = hosted.get_parameter(spec.name).value
        assert not hosted.set_parameters([Parameter(spec.name, value=other)])[0].successful, spec.name
        assert hosted.get_parameter(spec.name).value == before


# Reads the shelves of a benchmark's tools with an Unpickler that names no class (test_et_bench.py tries it).
PLAIN_VALUES_ONLY = ("stored.py", {"pickle"})


def test_no_pickle_and_no_remote_code() -> None:
    """Weights are read as safetensors only, and no code that comes with a checkpoint runs by default."""
    for path in (ROOT / "stride_ros").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                unsafe = names & {"pickle", "cloudpickle", "dill", "joblib"}
                assert not unsafe or (path.name, unsafe) == PLAIN_VALUES_ONLY, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "os.system"), path
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("trust_remote_code", "False") == "False", path
                if called == "torch.load":
                    assert keywords.get("weights_only") == "True", path
