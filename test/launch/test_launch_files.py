"""The launch files: arguments are declared and described, YAML values hold unless an argument is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

launch = pytest.importorskip("launch", reason="launch is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; source a ROS 2 distribution")
yaml = pytest.importorskip("yaml")
from launch.launch_description_sources import get_launch_description_from_python_launch_file  # noqa: E402

LAUNCH = Path(__file__).parents[2] / "launch"
STRIDE = {
    "params_file",
    "namespace",
    "image_topic",
    "image_transport",
    "query",
    "model",
    "responder_model",
    "device",
    "use_responder",
    "use_sim_time",
    "autostart",
    "log_level",
}


def description(name: str) -> Any:
    return get_launch_description_from_python_launch_file(str(LAUNCH / name))


def nodes(arguments: dict[str, str]) -> dict[str, Any]:
    """The lifecycle nodes of stride.launch.py by name, evaluated with these arguments and not started."""
    from launch_ros.actions import LifecycleNode

    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    found: dict[str, Any] = {}

    def visit(entities: Any) -> None:
        for entity in entities:
            if isinstance(entity, launch.actions.DeclareLaunchArgument):
                entity.visit(context)
            elif isinstance(entity, LifecycleNode):
                entity._perform_substitutions(context)
                found[entity.node_name.lstrip("/")] = (entity, context)
            elif isinstance(entity, launch.actions.GroupAction) and (
                entity.condition is None or entity.condition.evaluate(context)
            ):
                visit(entity.get_sub_entities())

    visit(description("stride.launch.py").entities)
    return found


def parameters(node: Any) -> dict[str, Any]:
    """What the parameter files and overrides of a node add up to, later ones winning."""
    from launch.utilities import perform_substitutions
    from launch_ros.parameter_descriptions import Parameter

    action, context = node
    merged: dict[str, Any] = {}
    name = action.node_name.rsplit("/", 1)[-1]
    for item, is_file in action._Node__expanded_parameter_arguments:
        if not is_file:
            assert isinstance(item, Parameter)
            merged[perform_substitutions(context, item.name)] = item.evaluate(context)[1]
            continue
        content = yaml.safe_load(Path(item).read_text())
        for key in ("/**", f"/**/{name}"):
            merged.update(content.get(key, {}).get("ros__parameters", {}))
    return merged


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("stride.launch.py", STRIDE),
        ("demo.launch.py", {"source"}),
        ("replay.launch.py", {"bag", "rate", "record", "image_topic", "query", "model"}),
    ],
)
def test_every_argument_has_a_description_and_booleans_have_choices(name: str, needed: set[str]) -> None:
    arguments = description(name).get_launch_arguments()
    assert {argument.name for argument in arguments} >= needed
    for argument in arguments:
        assert argument.description, argument.name
        assert argument.description != "no description given", argument.name
        if argument.name.startswith("use_") or argument.name == "autostart":
            assert argument.choices == ["true", "false"]


@pytest.mark.parametrize("name", ["demo.launch.py", "replay.launch.py"])
def test_what_is_passed_on_is_an_argument_of_the_included_file(name: str) -> None:
    includes = [
        entity
        for entity in description(name).entities
        if isinstance(entity, launch.actions.IncludeLaunchDescription)
    ]
    (nodes_included,) = includes
    assert {given for given, _ in nodes_included.launch_arguments} <= STRIDE


def test_yaml_values_hold_unless_an_argument_is_given(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "/**/activation": {"ros__parameters": {"queries": ["From the file."], "model": "file_model"}},
                "/**/responder": {"ros__parameters": {"model": "file_responder"}},
            }
        )
    )
    found = nodes({"params_file": str(file), "query": "From 'the' line: yes", "responder_model": "given"})
    activation, responder = parameters(found["stride/activation"]), parameters(found["stride/responder"])
    assert activation["query"] == "From 'the' line: yes"
    assert activation["queries"] == [""], "the query given replaces those of the file"
    assert activation["model"] == "file_model"
    assert responder["model"] == "given"
    assert activation["autostart"] is False, "the launch file does the start"


def test_namespace_and_responder_are_optional() -> None:
    assert set(nodes({})) == {"stride/activation", "stride/responder"}
    assert set(nodes({"namespace": "front", "use_responder": "false"})) == {"front/activation"}
