"""Bring up the activation and responder nodes on a camera topic. `--show-args` lists the arguments."""

import json
import tempfile

from launch.actions import DeclareLaunchArgument, EmitEvent, GroupAction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription, Substitution

BOOLEAN = ["true", "false"]
ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([FindPackageShare("stride_ros"), "config", "stride.yaml"]),
        description="Parameters of the nodes (YAML); the arguments below win where they are given.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="stride", description="Namespace of all names; one for each camera."
    ),
    DeclareLaunchArgument(
        "image_topic", default_value="/camera/image_raw", description="Camera topic (sensor_msgs/Image)."
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="raw: image_topic itself; compressed: image_topic/compressed; empty: as in params_file.",
    ),
    DeclareLaunchArgument(
        "query",
        default_value="",
        description="What to be told about, in natural language; empty: as in params_file.",
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="STRIDE checkpoint: directory, Hugging Face repository or stride-tiny; "
        "empty: as in params_file (interlive/STRIDE-2B).",
    ),
    DeclareLaunchArgument(
        "responder_model",
        default_value="",
        description="Image-text model that speaks: stride-tiny, directory or Hugging Face repository; "
        "empty: as in params_file (Qwen/Qwen3-VL-8B-Instruct).",
    ),
    DeclareLaunchArgument(
        "device",
        default_value="",
        description="Where both models run: auto, cpu, cuda or cuda:N; empty: as in params_file (auto).",
    ),
    DeclareLaunchArgument(
        "use_responder",
        default_value="true",
        choices=BOOLEAN,
        description="Start the responder; false publishes spans only.",
    ),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=BOOLEAN, description="Take the time from /clock."
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=BOOLEAN,
        description="Configure and activate the nodes; false leaves that to a lifecycle manager.",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Least severe messages to log.",
    ),
]


class GivenArguments(Substitution):
    """Path of a parameter file with those launch arguments that are not empty."""

    def __init__(self, parameters: dict[str, str]) -> None:
        """`parameters`: name of the parameter -> name of the launch argument."""
        super().__init__()
        self._parameters = parameters

    def perform(self, context: LaunchContext) -> str:
        values = {"autostart": False}
        for parameter, argument in self._parameters.items():
            if value := LaunchConfiguration(argument).perform(context):
                values[parameter] = value
                if parameter == "query":
                    values["queries"] = [""]  # those of the file give way
        with tempfile.NamedTemporaryFile("w", prefix="stride_", suffix=".yaml", delete=False) as file:
            json.dump({"/**": {"ros__parameters": values}}, file)  # JSON is YAML
        return file.name


def managed_node(name: str, parameters: dict[str, str], **options: object) -> list:
    """Return a lifecycle node and the events that start it."""
    node = LifecycleNode(
        package="stride_ros",
        executable=f"{name}_node",
        name=name,
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        emulate_tty=True,
        parameters=[
            LaunchConfiguration("params_file"),
            GivenArguments(parameters),
            {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)},
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        **options,
    )

    def change(transition: int) -> EmitEvent:
        event = ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
        return EmitEvent(event=event)

    configure = RegisterEventHandler(
        OnProcessStart(target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)]),
        condition=IfCondition(LaunchConfiguration("autostart")),
    )
    activate = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="inactive",
            entities=[change(Transition.TRANSITION_ACTIVATE)],
        ),
        condition=IfCondition(LaunchConfiguration("autostart")),
    )
    return [configure, activate, node]


def generate_launch_description() -> LaunchDescription:
    activation = managed_node(
        "activation",
        {"model": "model", "device": "device", "query": "query", "image_transport": "image_transport"},
        remappings=[("image", LaunchConfiguration("image_topic"))],
    )
    responder = managed_node("responder", {"model": "responder_model", "device": "device"})
    return LaunchDescription(
        [
            *ARGUMENTS,
            *activation,
            GroupAction(responder, condition=IfCondition(LaunchConfiguration("use_responder"))),
        ]
    )
