"""Try it without a camera: a synthetic camera or a video file, both nodes, the small checkpoint."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from stride_ros.launching import arguments
from stride_ros.launching.parameter_file import ParameterFile
from stride_ros.launching.processes import WhenItEnds
from stride_ros.text import topics

SHARE = FindPackageShare("stride_ros")
ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([SHARE, "config", "demo.yaml"]),
        description="Parameters of the nodes (YAML).",
    ),
    DeclareLaunchArgument(
        "source",
        default_value="",
        description="What the camera shows: world, a video file, an image folder, a bag or /dev/videoN; "
        "empty: as in params_file (world).",
    ),
    DeclareLaunchArgument(
        "query", default_value="", description="What to watch for; empty: as in params_file."
    ),
    DeclareLaunchArgument(
        "model",
        default_value="",
        description="STRIDE checkpoint: directory, Hugging Face repository or stride-tiny; "
        "empty: as in params_file (stride-tiny).",
    ),
    DeclareLaunchArgument(
        "responder_model",
        default_value="",
        description="Image-text model that describes events: directory, Hugging Face repository or "
        "stride-tiny; empty: as in params_file (stride-tiny).",
    ),
    DeclareLaunchArgument(
        "namespace", default_value=topics.NAMESPACE, description="Namespace of all nodes and topics."
    ),
    DeclareLaunchArgument(
        "show", default_value="true", choices=["true", "false"], description="Print spans and commentary."
    ),
]


def camera(context: LaunchContext) -> list:
    """Return the camera node; by now, the arguments of stride.launch.py are known."""
    full = f"{arguments.namespace(context).rstrip('/')}/camera"
    given = arguments.given_parameters(context, {"source": "source"})
    if arguments.text(context, "use_sim_time"):
        given["use_sim_time"] = arguments.flag(context, "use_sim_time")
    return [
        Node(
            package="stride_ros",
            executable="camera_node",
            name="camera",
            namespace=arguments.text(context, "namespace"),
            output="screen",
            emulate_tty=True,
            parameters=ParameterFile(arguments.text(context, "params_file")).for_node(full, given),
            arguments=["--ros-args", "--log-level", arguments.text(context, "log_level")],
            on_exit=WhenItEnds(full, shutdown=arguments.text(context, "on_failure") == "shutdown"),
        )
    ]


def generate_launch_description() -> LaunchDescription:
    names = ("params_file", "query", "model", "responder_model", "namespace", "show")
    passed_on = {name: LaunchConfiguration(name) for name in names} | {"image_topic": topics.IMAGE}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "stride.launch.py"])),
        launch_arguments=passed_on.items(),
    )
    return LaunchDescription([*ARGUMENTS, nodes, OpaqueFunction(function=camera)])
