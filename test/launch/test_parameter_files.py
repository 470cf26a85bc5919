"""The files in config/ name what the nodes declare, and the nodes accept them as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
yaml = pytest.importorskip("yaml")


@pytest.mark.parametrize("name", ["stride.yaml", "demo.yaml"])
def test_files_name_only_parameters_that_exist(name: str) -> None:
    # Parameters whose default depends on how a node is started are comments there.
    text = re.sub(r"^( +)# (\w+:)", r"\1\2", (CONFIG / "stride.yaml").read_text(), flags=re.M)
    everything = yaml.safe_load(text)
    for node, section in yaml.safe_load((CONFIG / name).read_text()).items():
        known = everything[node]["ros__parameters"]
        for parameter, value in section["ros__parameters"].items():
            if parameter.startswith("qos_overrides."):  # declared by ROS with the subscription
                continue
            assert parameter in known
            assert type(value) is type(known[parameter])


def test_a_list_in_a_file_arrives_and_the_shipped_one_is_empty(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
    assert declared("activation", "queries", CONFIG / "stride.yaml") == ()
    robot = tmp_path / "robot.yaml"
    robot.write_text('/**/activation: {ros__parameters: {queries: ["Tell me.", "Warn me."]}}')
    assert declared("activation", "queries", CONFIG / "stride.yaml", robot) == ("Tell me.", "Warn me.")
    robot.write_text("/**/activation: {ros__parameters: {queries: []}}")
    assert declared("activation", "queries", robot) == (), "a list without a type is an empty one"


@pytest.mark.parametrize("node", ["activation", "responder", "event_log", "camera"])
def test_nodes_read_the_files_under_any_namespace(node: str, tmp_path: Path) -> None:
    """Through ROS's own parser: a value that differs from the default arrives, the whole file is accepted."""
    pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
    changes = {
        "activation": ("rate", 2.0),
        "responder": ("history", 5),
        "event_log": ("robot", "r2"),
        "camera": ("speed", 3.0),
    }
    name, value = changes[node]
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump({f"/**/{node}": {"ros__parameters": {name: value}}}))
    assert declared(node, name, CONFIG / "stride.yaml", changed) == value


def declared(node: str, parameter: str, *files: Path) -> Any:
    """The value a node in namespace /robot/front declares with these parameter files."""
    import rclpy

    from stride_ros.nodes.parameters import Parameters
    from stride_ros.parameters import activation as activation_parameters
    from stride_ros.parameters import camera as camera_parameters
    from stride_ros.parameters import event_log as event_log_parameters
    from stride_ros.parameters import responder as responder_parameters

    tables = {
        "activation": activation_parameters.TABLE,
        "responder": responder_parameters.TABLE,
        "event_log": event_log_parameters.TABLE,
        "camera": camera_parameters.TABLE,
    }
    context = rclpy.Context()
    rclpy.init(context=context)
    arguments = ["--ros-args", *(part for file in files for part in ("--params-file", str(file)))]
    made = rclpy.create_node(node, namespace="/robot/front", context=context, cli_args=arguments)
    try:
        return Parameters(made, tables[node])[parameter]
    finally:
        made.destroy_node()
        context.try_shutdown()
