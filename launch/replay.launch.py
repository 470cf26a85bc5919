"""Play a bag to the nodes in its own time (/clock) and record what they say. Needs `ros2 bag`.

Offline, without a graph and faster: `stride-ros replay BAG`, which gives the same spans.
"""

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.events.lifecycle import StateTransition
from launch_ros.substitutions import FindPackageShare

from launch import EventHandler, LaunchDescription

SHARE = FindPackageShare("stride_ros")
LAST_WORDS = 10.0  # s for the last sentences after the bag has ended
PASSED_ON = {  # arguments of stride.launch.py, with what stands here
    "params_file": PathJoinSubstitution([SHARE, "config", "stride.yaml"]),
    "namespace": "stride",
    "image_topic": "/camera/image_raw",
    "image_transport": "",
    "query": "",
    "model": "",
    "responder_model": "",
    "device": "",
    "use_responder": "true",
}
DESCRIPTIONS = {
    "params_file": "Parameters of the nodes (YAML); the arguments below win where they are given.",
    "namespace": "Namespace of all names.",
    "image_topic": "Image topic of the bag.",
    "image_transport": "raw: image_topic; compressed: image_topic/compressed; empty: as in params_file.",
    "query": "What to be told about; empty: as in params_file.",
    "model": "STRIDE checkpoint; empty: as in params_file.",
    "responder_model": "Image-text model that speaks; empty: as in params_file.",
    "device": "Where both models run; empty: as in params_file.",
    "use_responder": "Start the responder; false publishes spans only.",
}
CHOICES = {"image_transport": ["", "raw", "compressed"], "use_responder": ["true", "false"]}
ARGUMENTS = [
    DeclareLaunchArgument("bag", description="The bag to play: a folder or a file."),
    DeclareLaunchArgument("rate", default_value="1.0", description="How much faster than real time to play."),
    DeclareLaunchArgument(
        "record", default_value="", description="Bag to record the results into; empty: record nothing."
    ),
    *(
        DeclareLaunchArgument(
            name, default_value=default, description=DESCRIPTIONS[name], choices=CHOICES.get(name)
        )
        for name, default in PASSED_ON.items()
    ),
]


def is_ready(event: object) -> bool:
    """Whether the activation node, which takes the images, has become active."""
    return (
        isinstance(event, StateTransition)
        and event.goal_state == "active"
        and event.action.node_name.endswith("/activation")
    )


def generate_launch_description() -> LaunchDescription:
    passed_on = {name: LaunchConfiguration(name) for name in PASSED_ON} | {"use_sim_time": "true"}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "stride.launch.py"])),
        launch_arguments=passed_on.items(),
    )
    play = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", LaunchConfiguration("bag")),
            *("--clock", "50", "--rate", LaunchConfiguration("rate")),
        ],
        output="screen",
    )
    namespace = LaunchConfiguration("namespace")
    record = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "record", "--use-sim-time", "-o", LaunchConfiguration("record"), "--topics"),
            *(
                ["/", namespace, "/", topic]
                for topic in ("frames", "activation/span", "activation/window", "commentary")
            ),
        ],
        output="screen",
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("record"), "' != ''"])),
    )
    begin = RegisterEventHandler(EventHandler(matcher=is_ready, entities=[play], handle_once=True))
    end = RegisterEventHandler(
        OnProcessExit(
            target_action=play,
            on_exit=[
                TimerAction(
                    period=LAST_WORDS, actions=[EmitEvent(event=Shutdown(reason="the bag has ended"))]
                )
            ],
        )
    )
    return LaunchDescription([*ARGUMENTS, begin, end, record, nodes])
