"""Bring up the activation and responder nodes on a camera topic. `--show-args` lists the arguments."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from stride_ros.errors import ConfigError
from stride_ros.launching import arguments
from stride_ros.launching.parameter_file import ParameterFile
from stride_ros.launching.processes import WhenItEnds
from stride_ros.nodes.compose import RESPONDER_LIMIT
from stride_ros.parameters import activation, responder
from stride_ros.parameters.table import default_of
from stride_ros.text import topics

BOOLEAN = ["true", "false"]
AS_IN_FILE = ["", *BOOLEAN]
ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([FindPackageShare("stride_ros"), "config", "stride.yaml"]),
        description="Parameters of the nodes (YAML); arguments below that are given take precedence.",
    ),
    DeclareLaunchArgument(
        "namespace",
        default_value=topics.NAMESPACE,
        description="Namespace of all nodes and topics.",
    ),
    DeclareLaunchArgument(
        "image_topic", default_value=topics.CAMERA, description="Camera topic (sensor_msgs/Image)."
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="Several cameras instead of image_topic, as in 'front:=/front/image_raw "
        "left:=/left/image_raw/compressed'; topics that end in /compressed are JPEGs or video packets.",
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
        description="What to watch for, in natural language; empty: as in params_file.",
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="STRIDE checkpoint: directory, Hugging Face repository or stride-tiny; "
        f"empty: as in params_file ({default_of(activation.TABLE, 'model')}).",
    ),
    DeclareLaunchArgument(
        "responder_model",
        default_value="",
        description="Image-text model that describes events: stride-tiny, directory or Hugging Face "
        f"repository; empty: as in params_file ({default_of(responder.TABLE, 'model')}).",
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
        "wait_for_responder",
        default_value=str(RESPONDER_LIMIT),
        description="Seconds the activation node waits for the responder to be ready before it decides; "
        "with use_responder:=false it is as in params_file (0).",
    ),
    DeclareLaunchArgument(
        "event_log",
        default_value="false",
        description="Store events: true (as in params_file, or in $ROS_HOME/stride_ros/events.db) or the "
        "path of a file.",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        choices=AS_IN_FILE,
        description="Take the time from /clock; empty: as in params_file (false).",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        choices=AS_IN_FILE,
        description="Configure and activate the nodes; false leaves that to a lifecycle manager; "
        "empty: as in params_file (true).",
    ),
    DeclareLaunchArgument(
        "respawn",
        default_value="false",
        choices=BOOLEAN,
        description="Restart a node when its process has ended; it configures and activates itself.",
    ),
    DeclareLaunchArgument(
        "respawn_delay", default_value="2.0", description="Seconds until a node is restarted."
    ),
    DeclareLaunchArgument(
        "on_failure",
        default_value="shutdown",
        choices=["shutdown", "keep"],
        description="When a node cannot start or dies: shutdown ends the launch with exit code 1, keep "
        "continues with the others. With respawn:=true only a wrong parameter counts.",
    ),
    DeclareLaunchArgument(
        "show",
        default_value="false",
        choices=BOOLEAN,
        description="Print spans and commentary.",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Minimum severity of log messages.",
    ),
]


class Nodes:
    """Creates the nodes from the arguments; errors are raised before the first node starts."""

    def __init__(self, context: LaunchContext) -> None:
        self._context = context
        self.namespace = arguments.namespace(context)
        self._file = ParameterFile(arguments.text(context, "params_file"))
        self._respawn = arguments.flag(context, "respawn")
        self._delay = arguments.number(context, "respawn_delay", "seconds")
        self._shutdown = arguments.text(context, "on_failure") == "shutdown"

    def make(self, name: str, given: dict, remappings: list[tuple[str, str]]) -> Node:
        """Return a node with the parameters `given`, which override those of the file."""
        full = f"{self.namespace.rstrip('/')}/{name}"
        for parameter in ("use_sim_time", "autostart"):
            if arguments.text(self._context, parameter):
                given[parameter] = arguments.flag(self._context, parameter)
        if stray := self._file.stray(full):
            arguments.warn(
                f"No section of {self._file.path} is for {full}: '{stray.lstrip('/')}' is another node; "
                f"write /**/{name} to match the node in any namespace."
            )
        return Node(
            package="stride_ros",
            executable=f"{name}_node",
            name=name,
            namespace=arguments.text(self._context, "namespace"),
            output="screen",
            emulate_tty=True,
            parameters=self._file.for_node(full, given),
            remappings=remappings,
            arguments=["--ros-args", "--log-level", arguments.text(self._context, "log_level")],
            respawn=self._respawn,
            respawn_delay=self._delay,
            on_exit=WhenItEnds(full, shutdown=self._shutdown, respawn=self._respawn),
        )


def bring_up(context: LaunchContext) -> list:
    """Return the nodes that the arguments request."""
    nodes = Nodes(context)
    use_responder = arguments.flag(context, "use_responder")
    watched = {"model": "model", "device": "device", "query": "query", "image_transport": "image_transport"}
    given = arguments.given_parameters(context, watched)
    if "query" in given:
        given["queries"] = [""]  # these override those of the file
    if use_responder:
        given["wait_for_responder"] = arguments.number(context, "wait_for_responder", "seconds")
    cameras = arguments.cameras(context, nodes.namespace)
    if cameras:
        given["cameras"] = list(cameras)
        given.update((f"{name}.image_transport", camera.transport) for name, camera in cameras.items())
        images = [(topics.of_camera(name, topics.IMAGE), camera.topic) for name, camera in cameras.items()]
    else:
        images = [(topics.IMAGE, arguments.image_topic(context, nodes.namespace))]
    made = [nodes.make("activation", given, images)]
    if use_responder:
        spoken = arguments.given_parameters(context, {"model": "responder_model", "device": "device"})
        if cameras:
            spoken["cameras"] = list(cameras)
        made.append(nodes.make("responder", spoken, []))
    wanted = arguments.text(context, "event_log")
    if wanted != "false":
        if wanted != "true" and "/" not in wanted and "." not in wanted:
            raise ConfigError(f"event_log cannot be '{wanted}'; give true, false or the path of a file.")
        kept = {} if wanted == "true" else {"file": wanted}
        if cameras:
            kept["cameras"] = list(cameras)
        made.append(nodes.make("event_log", kept, []))
    if arguments.flag(context, "show"):
        from stride_ros.launching.shown import show

        show(context, nodes.namespace)
    return made


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=bring_up)])
