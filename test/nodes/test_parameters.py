"""Parameter tables: descriptors on the graph, checks at start and live, refusals with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stride_ros.errors import ConfigError

pytest.importorskip("rclpy")
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from stride_ros.nodes.parameters import Parameters
from stride_ros.parameters.table import LIVE, START, ParameterSpec

TABLE = (
    ParameterSpec("gain", 1.0, "How much.", LIVE, (0.0, 2.0)),
    ParameterSpec("limit", 1.5, "At most.", LIVE, (0.0, 2.0)),
    ParameterSpec("steps", 8, "How often.", LIVE, (1, 64)),
    ParameterSpec("mode", "fast", "How.", choices=("fast", "fine")),
    ParameterSpec("name", "", "Who.", START),
    ParameterSpec("loud", False, "Whether.", LIVE),
    ParameterSpec("words", (), "Which.", LIVE),
    ParameterSpec("places", (), "Where.", START),
)


def gain_below_limit(values: Mapping[str, Any]) -> None:
    if values["gain"] > values["limit"]:
        raise ConfigError("gain is above limit; lower it.")


class Tuned(Node):
    def __init__(self, **options: Any) -> None:
        super().__init__("tuned", **options)
        self.parameters = Parameters(self, TABLE, gain_below_limit)


def test_descriptors_tell_type_range_choices_and_when_it_applies(graph: Any) -> None:
    graph.host(Tuned)
    names = [spec.name for spec in TABLE]
    described = graph.call(DescribeParameters, "/tuned/describe_parameters", names=names).descriptors
    by_name = {descriptor.name: descriptor for descriptor in described}
    assert by_name["gain"].type == ParameterType.PARAMETER_DOUBLE
    assert by_name["gain"].floating_point_range[0].to_value == 2.0
    assert by_name["steps"].integer_range[0].from_value == 1
    assert by_name["words"].type == ParameterType.PARAMETER_STRING_ARRAY
    assert by_name["name"].read_only
    assert "one of fast, fine" in by_name["mode"].additional_constraints
    assert "read at configure" in by_name["mode"].additional_constraints
    assert all(descriptor.description for descriptor in described)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("gain", 5.0, "out of range|cannot be 5"),
        ("gain", float("nan"), "finite|range"),
        ("gain", float("inf"), "finite|range"),
        ("gain", 1, "type"),
        ("gain", "1.0", "type"),
        ("gain", 1.9, "above limit"),
        ("steps", 0, "out of range|cannot be 0"),
        ("steps", 2.0, "type"),
        ("mode", "slow", "one of fast, fine"),
        ("name", "x", "read-only"),
        ("loud", 1, "type"),
        ("words", "one", "type"),
        ("words", [1, 2], "type"),
        ("gain", None, "type|double|undeclared"),
    ],
)
def test_refusals_have_a_reason_and_change_nothing(graph: Any, name: str, value: Any, reason: str) -> None:
    import re

    node = graph.host(Tuned)
    before = node.parameters.values()
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert re.search(reason, result.reason)
    assert node.parameters.values() == before


def test_changes_that_only_go_together_are_set_together(graph: Any) -> None:
    node = graph.host(Tuned)
    changes = [Parameter("gain", value=1.9), Parameter("limit", value=2.0)]
    assert node.set_parameters_atomically(changes).successful
    assert node.parameters["gain"] == 1.9


def test_locked_refuses_what_configure_reads_and_allows_the_rest(graph: Any) -> None:
    node = graph.host(Tuned)
    node.parameters.locked = True
    result = node.set_parameters([Parameter("mode", value="fine")])[0]
    assert not result.successful
    assert "read at configure" in result.reason
    assert node.set_parameters([Parameter("loud", value=True)])[0].successful
    node.parameters.locked = False
    assert node.set_parameters([Parameter("mode", value="fine")])[0].successful


def test_lists_are_tuples_and_the_empty_one_can_be_written(graph: Any) -> None:
    """Files and command lines cannot give [] a type, so [""] stands for it; a typed [] is accepted too."""
    node = graph.host(Tuned)
    assert node.parameters["words"] == ()
    assert node.get_parameter("words").value == [""], "a dump of the parameters can be loaded again"
    assert node.set_parameters([Parameter("words", value=["one", "two"])])[0].successful
    assert node.parameters["words"] == ("one", "two")
    for empty in ([""], []):
        assert node.set_parameters([Parameter("words", Parameter.Type.STRING_ARRAY, empty)])[0].successful
        assert node.parameters["words"] == ()


@pytest.mark.parametrize("given", ["[]", "[one, two]"])
def test_a_list_that_is_fixed_at_start_may_be_empty_in_a_file(graph: Any, tmp_path: Path, given: str) -> None:
    file = tmp_path / "tuned.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    places: {given}\n    words: {given}\n")
    node = graph.host(Tuned, cli_args=["--ros-args", "--params-file", str(file)])
    expected = () if given == "[]" else ("one", "two")
    assert (node.parameters["places"], node.parameters["words"]) == (expected, expected)
    assert node.describe_parameter("places").read_only
    assert not node.set_parameters([Parameter("places", value=["three"])])[0].successful
    assert node.set_parameters([Parameter("words", value=["three"])])[0].successful


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"words": "one"}, r'must be a string array; write it like \["text"\]'),
        ({"gain": 1}, "must be a double; write it like 1.0"),
        ({"steps": 1.0}, "must be an integer; write it like 8"),
        ({"gain": 9.0}, "not allowed; use 0.0 to 2.0"),
        ({"mode": "slow"}, "one of fast, fine"),
        ({"gain": 1.9}, "above limit"),
    ],
)
def test_bad_start_values_are_a_config_error(graph: Any, overrides: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        graph.host(Tuned, overrides)
