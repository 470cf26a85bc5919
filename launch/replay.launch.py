"""Play a bag to the nodes in its own time (/clock) and record their results. Needs `ros2 bag`.

`stride-ros replay BAG` gives the same spans offline, without a graph and faster.
"""

import asyncio
import importlib.util
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueCoroutine,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event import Event
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState

from launch import EventHandler, LaunchContext, LaunchDescription
from stride_ros.errors import ConfigError, SourceError
from stride_ros.launching import arguments
from stride_ros.launching.own_node import own_node
from stride_ros.launching.processes import WhenItEnds
from stride_ros.text import topics

SHARE = FindPackageShare("stride_ros")
LAST_WORDS = 10.0  # s for the last sentences after the bag has ended
ANSWER = 2.0  # s to wait for a node's answer before asking again
PASSED_ON = {  # arguments of stride.launch.py, with their defaults here
    "params_file": PathJoinSubstitution([SHARE, "config", "stride.yaml"]),
    "namespace": topics.NAMESPACE,
    "image_topic": topics.CAMERA,
    "image_transport": "",
    "query": "",
    "model": "",
    "responder_model": "",
    "device": "",
    "use_responder": "true",
    "show": "true",
    "log_level": "info",
}
DESCRIPTIONS = {
    "params_file": "Parameters of the nodes (YAML); arguments below that are given take precedence.",
    "namespace": "Namespace of all nodes and topics.",
    "image_topic": "Image topic of the bag.",
    "image_transport": "raw: image_topic; compressed: image_topic/compressed; empty: as in params_file.",
    "query": "What to watch for; empty: as in params_file.",
    "model": "STRIDE checkpoint; empty: as in params_file.",
    "responder_model": "Image-text model that describes events; empty: as in params_file.",
    "device": "Where both models run; empty: as in params_file.",
    "use_responder": "Start the responder; false publishes spans only.",
    "show": "Print spans and commentary.",
    "log_level": "Minimum severity of log messages.",
}
CHOICES = {
    "image_transport": ["", "raw", "compressed"],
    "use_responder": ["true", "false"],
    "show": ["true", "false"],
    "log_level": ["debug", "info", "warn", "error", "fatal"],
}
ARGUMENTS = [
    DeclareLaunchArgument("bag", description="The bag to play: a folder or a file."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Speed as a multiple of real time."),
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


class Ready(Event):
    """The activation node, which takes the images, is active."""


def check(context: LaunchContext) -> None:
    """Check the arguments before anything is started."""
    if importlib.util.find_spec("ros2bag") is None:
        raise SourceError(
            "`ros2 bag` is not installed; install rosbag2 for your ROS distribution, or replay without it: "
            "stride-ros replay BAG."
        )
    bag, record = (Path(arguments.text(context, name)).expanduser() for name in ("bag", "record"))
    if not bag.exists():
        raise SourceError(f"There is no bag '{bag}'; give the path of a folder or a file.")
    if arguments.text(context, "record") and record.exists():
        raise SourceError(f"'{record}' already exists; set record to a path that does not exist.")
    if arguments.number(context, "rate", "a factor") == 0.0:
        raise ConfigError("rate cannot be 0; use a factor such as 1.0.")


async def wait_until_active(context: LaunchContext) -> None:
    """Ask the activation node for its state until it is active, since a transition event might be missed."""
    name = f"{arguments.namespace(context).rstrip('/')}/activation"
    client = own_node(context).create_client(GetState, f"{name}/get_state")
    try:
        while not context.is_shutdown:
            if client.service_is_ready():
                answer = client.call_async(GetState.Request())
                for _ in range(round(ANSWER / 0.1)):
                    await asyncio.sleep(0.1)
                    if answer.done():
                        break
                if answer.done() and answer.result().current_state.id == State.PRIMARY_STATE_ACTIVE:
                    await context.emit_event(Ready())
                    return
            await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        return  # launch treats a cancelled coroutine as a failure, but a shutdown is not one


def when_the_bag_ended(event: ProcessExited, context: LaunchContext) -> list | None:
    """Wait for the last sentences and shut down; a failed player ends the launch with an error."""
    WhenItEnds("`ros2 bag play`", shutdown=True)(event, context)
    if context.is_shutdown:
        return None
    shutdown = EmitEvent(event=Shutdown(reason="the bag has ended"))
    return [TimerAction(period=LAST_WORDS, actions=[shutdown])]


def player_and_recorder(context: LaunchContext) -> list:
    """Return the recorder, and the player that waits until the nodes are ready."""
    namespace = arguments.namespace(context).rstrip("/")
    bag = str(Path(arguments.text(context, "bag")).expanduser())
    play = ExecuteProcess(
        cmd=["ros2", "bag", "play", bag, "--clock", "50", "--rate", arguments.text(context, "rate")],
        output="screen",
        on_exit=when_the_bag_ended,
    )
    begin = EventHandler(matcher=lambda event: isinstance(event, Ready), entities=[play], handle_once=True)
    actions = [RegisterEventHandler(begin), OpaqueCoroutine(coroutine=wait_until_active)]
    if record := arguments.text(context, "record"):
        actions.append(
            ExecuteProcess(
                cmd=[
                    *("ros2", "bag", "record", "--use-sim-time", "-o", str(Path(record).expanduser())),
                    *("--topics", *(topics.under(namespace, topic) for topic in topics.RESULTS)),
                ],
                output="screen",
                on_exit=WhenItEnds("`ros2 bag record`", shutdown=True),
            )
        )
    return actions


def generate_launch_description() -> LaunchDescription:
    passed_on = {name: LaunchConfiguration(name) for name in PASSED_ON} | {"use_sim_time": "true"}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "stride.launch.py"])),
        launch_arguments=passed_on.items(),
    )
    return LaunchDescription(
        [*ARGUMENTS, OpaqueFunction(function=check), nodes, OpaqueFunction(function=player_and_recorder)]
    )
