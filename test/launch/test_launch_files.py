"""The launch files: arguments are declared and described, and arrive at the nodes as ROS reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

launch = pytest.importorskip("launch", reason="launch is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; source a ROS 2 distribution")
rclpy = pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
from launch.launch_description_sources import get_launch_description_from_python_launch_file  # noqa: E402

LAUNCH = Path(__file__).parents[2] / "launch"
STRIDE = {
    "params_file",
    "namespace",
    "image_topic",
    "cameras",
    "image_transport",
    "query",
    "model",
    "responder_model",
    "device",
    "use_responder",
    "wait_for_responder",
    "event_log",
    "use_sim_time",
    "autostart",
    "respawn",
    "respawn_delay",
    "on_failure",
    "show",
    "log_level",
}
SWITCHES = {"use_responder", "use_sim_time", "autostart", "respawn", "show"}
Start = Callable[..., Any]


def description(name: str) -> Any:
    return get_launch_description_from_python_launch_file(str(LAUNCH / name))


def nodes(arguments: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The nodes of stride.launch.py by full name, each with its parameters as ROS reads its command line."""
    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    return {
        action.node_name: parameters(action.node_name, list(words(action, context)))
        for entity in description("stride.launch.py").entities
        for action in entity.visit(context) or ()
        if action._perform_substitutions(context) is None
    }


def words(action: Any, context: Any) -> Iterator[str]:
    """The command line after the executable, without name and namespace, which a started process has."""
    from launch.utilities import perform_substitutions
    from launch_ros.substitutions import ExecutableInPackage

    for word in action.cmd:
        if not isinstance(word[0], (ExecutableInPackage, launch.substitutions.LocalSubstitution)):
            yield perform_substitutions(context, word)


def parameters(full_name: str, arguments: list[str]) -> dict[str, Any]:
    while "-r" in arguments and ":=" not in arguments[min(arguments.index("-r") + 1, len(arguments) - 1)]:
        del arguments[arguments.index("-r")]
    namespace, _, name = full_name.rpartition("/")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node(
        name,
        namespace=namespace or "/",
        context=context,
        cli_args=arguments,
        allow_undeclared_parameters=True,
        automatically_declare_parameters_from_overrides=True,
    )
    try:
        return {key: value.value for key, value in node.get_parameters_by_prefix("").items()}
    finally:
        node.destroy_node()
        context.try_shutdown()


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("stride.launch.py", STRIDE),
        ("demo.launch.py", {"source"} | STRIDE),
        ("replay.launch.py", {"bag", "rate", "record"} | STRIDE),
    ],
)
def test_every_argument_has_a_description_and_switches_have_choices(name: str, needed: set[str]) -> None:
    arguments = description(name).get_launch_arguments()
    assert {argument.name for argument in arguments} == needed
    for argument in arguments:
        assert argument.description, argument.name
        assert argument.description != "no description given", argument.name
        if argument.name in SWITCHES:
            assert set(argument.choices) - {""} == {"true", "false"}, argument.name
    choices = {argument.name: argument.choices for argument in arguments}
    assert choices["on_failure"] == ["shutdown", "keep"]


def test_yaml_values_hold_unless_an_argument_is_given(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        """
        /**/activation: {ros__parameters: {queries: ["From the file."], model: file_model, autostart: false}}
        /**/responder: {ros__parameters: {model: file_responder, use_sim_time: true}}
        """
    )
    given = {"params_file": str(file), "query": "From 'the' line: yes", "responder_model": "given"}
    found = nodes(given)
    activation, responder = found["/stride/activation"], found["/stride/responder"]
    assert activation["query"] == "From 'the' line: yes"
    assert activation["queries"] == [""], "the query given replaces those of the file"
    assert activation["model"] == "file_model"
    assert activation["autostart"] is False
    assert activation["use_sim_time"] is False, "the file says it of the responder alone"
    assert responder["model"] == "given"
    assert responder["use_sim_time"] is True
    activation = nodes(given | {"autostart": "true", "use_sim_time": "true"})["/stride/activation"]
    assert activation["autostart"] is True
    assert activation["use_sim_time"] is True


GENERAL = "/**: {ros__parameters: {%s}}"
SECTIONS = [
    "/**/activation: {ros__parameters: {%s}}",
    "/*/activation: {ros__parameters: {%s}}",
    "/stride/activation: {ros__parameters: {%s}}",
    "stride: {activation: {ros__parameters: {%s}}}",
    "stride: {'*': {ros__parameters: {%s}}}",
]
VALUES = "model: file, rate: 3.0"


@pytest.mark.parametrize(
    "content",
    [
        GENERAL % VALUES,
        "/**: {activation: {ros__parameters: {model: file, rate: 3.0}}}",
        *(section % VALUES for section in SECTIONS),
        *(f"{GENERAL % 'use_sim_time: false'}\n{section % VALUES}" for section in SECTIONS),
        *(f"{section % VALUES}\n{GENERAL % 'use_sim_time: false'}" for section in SECTIONS),
        *(f"{GENERAL % 'model: general'}\n{section % VALUES}" for section in SECTIONS),
    ],
)
def test_a_given_argument_wins_over_every_section(content: str, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(content)
    given = nodes({"params_file": str(file), "model": "given"})["/stride/activation"]
    assert (given["model"], given["rate"]) == ("given", 3.0)
    assert nodes({"params_file": str(file)})["/stride/activation"]["model"] == "file"


def test_values_of_a_file_keep_their_types_when_an_argument_wins(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        """
        /**: {ros__parameters: {model: general, a: {b: 1, c: [x, "2"]}}}
        /**/activation:
          ros__parameters: {model: file, text: "1e3", number: 1e3, t: "yes", flag: yes, long: "%s", d.e: .5}
        """
        % ("word " * 40)
    )
    given = nodes({"params_file": str(file), "model": "given"})["/stride/activation"]
    held = nodes({"params_file": str(file)})["/stride/activation"]
    assert given.pop("model") == "given"
    assert held.pop("model") == "file"
    assert held["text"] == "1e3"
    assert given == held


@pytest.mark.parametrize(
    "query",
    [
        *(
            "true",
            "1",
            "1e3",
            "null",
            "~",
            "a: b",
            "- x",
            "[",
            "{a}",
            " lead",
            "trail ",
            "\\n",
            "%d",
            "$(env HOME)",
        ),
        *(
            'it\'s "so" #1',
            "é 日本 😀",
            "line\nbreak",
            "word " * 60 + "end",
            "--ros-args",
            "nan",
            "0x10",
            "key:=value",
        ),
    ],
)
def test_any_text_arrives_as_it_is(query: str) -> None:
    assert nodes({"query": query})["/stride/activation"]["query"] == query


def test_the_responder_is_waited_for_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("/**/activation: {ros__parameters: {wait_for_responder: 7.0}}")
    assert nodes({})["/stride/activation"]["wait_for_responder"] == 60.0
    assert nodes({"params_file": str(file)})["/stride/activation"]["wait_for_responder"] == 60.0
    assert nodes({"wait_for_responder": "5"})["/stride/activation"]["wait_for_responder"] == 5.0
    alone = nodes({"params_file": str(file), "use_responder": "false"})
    assert alone["/stride/activation"]["wait_for_responder"] == 7.0


def test_several_cameras_reach_both_nodes() -> None:
    given = {"cameras": "front:=/front/image_raw left:=/left/image_raw/compressed"}
    found = nodes(given)
    activation, responder = found["/stride/activation"], found["/stride/responder"]
    assert tuple(activation["cameras"]) == tuple(responder["cameras"]) == ("front", "left")
    assert activation["front.image_transport"] == "raw"
    assert activation["left.image_transport"] == "compressed"
    context = launch.LaunchContext()
    context.launch_configurations.update(given)
    remaps = [
        word
        for entity in description("stride.launch.py").entities
        for action in entity.visit(context) or ()
        if action._perform_substitutions(context) is None
        for word in words(action, context)
        if ":=/" in word
    ]
    assert "front/image:=/front/image_raw" in remaps
    assert "left/image:=/left/image_raw" in remaps


def test_the_event_log_is_started_where_it_is_wanted() -> None:
    assert "/stride/event_log" not in nodes({})
    found = nodes({"event_log": "true"})["/stride/event_log"]
    assert found["file"] == ""
    found = nodes({"event_log": "/data/a b.db", "cameras": "front:=/f left:=/l"})["/stride/event_log"]
    assert (found["file"], tuple(found["cameras"])) == ("/data/a b.db", ("front", "left"))


def test_namespace_and_responder_are_optional() -> None:
    assert set(nodes({})) == {"/stride/activation", "/stride/responder"}
    assert set(nodes({"namespace": "front", "use_responder": "false"})) == {"/front/activation"}
    assert set(nodes({"namespace": "/robot/front/", "use_responder": "false"})) == {"/robot/front/activation"}
    assert set(nodes({"namespace": "/"})) == {"/activation", "/responder"}
    pushed = nodes({"ros_namespace": "/robot", "namespace": "front", "use_responder": "false"})
    assert set(pushed) == {"/robot/front/activation"}


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("event_log:=yes", "event_log cannot be 'yes'; give true, false or the path of a file."),
        ("wait_for_responder:=-1", "wait_for_responder cannot be '-1'; give seconds, 0.0 or more."),
        ("respawn_delay:=soon", "respawn_delay cannot be 'soon'; give seconds, 0.0 or more."),
        ("namespace:=front cam", "namespace cannot be 'front cam'"),
        ("image_topic:=my camera", "image_topic cannot be 'my camera'"),
        ("cameras:=/front/image_raw", "write each as name:=topic, for example front:=/front/image_raw."),
        ("cameras:=front:=/a b:=", "cameras cannot be 'b:='"),
        ("cameras:=front:=/a front:=/b", "cameras lists front twice"),
        ("cameras:=front:=/a//b", "The topic of front cannot be '/a//b'"),
        ("cameras:=1st:=/a", "cameras lists '1st'; the name of a camera is a letter"),
        ("on_failure:=restart", '"on_failure" provided value "restart" is not valid'),
        ("use_responder:=yes", '"use_responder" provided value "yes" is not valid'),
        ("params_file:=/no/such.yaml", "params_file '/no/such.yaml' does not exist; give the path"),
    ],
)
def test_a_wrong_argument_ends_the_launch_before_anything_starts(
    start: Start, argument: str, sentence: str
) -> None:
    launched = start("stride.launch.py", argument)
    assert launched.code() == 1
    assert sentence in launched.output
    assert "Traceback" not in launched.output
    assert "process started" not in launched.output


def test_a_replay_needs_ros2_bag_and_a_bag(start: Start) -> None:
    import importlib.util

    launched = start("replay.launch.py", "bag:=/no/such/bag")
    assert launched.code() == 1
    there = importlib.util.find_spec("ros2bag") is not None
    assert ("There is no bag '/no/such/bag'" if there else "`ros2 bag` is not installed") in launched.output
    assert "process started" not in launched.output
