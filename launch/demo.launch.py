"""See it work without a camera: a synthetic camera or a video file, both nodes, the small checkpoint."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("stride_ros")
ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([SHARE, "config", "demo.yaml"]),
        description="Parameters of the nodes (YAML).",
    ),
    DeclareLaunchArgument(
        "source",
        default_value="world",
        description="What the camera shows: world, a video file, an image folder, a bag or /dev/videoN.",
    ),
    DeclareLaunchArgument(
        "query", default_value="", description="What to be told about; empty: as in params_file."
    ),
    DeclareLaunchArgument(
        "model",
        default_value="stride-tiny",
        description="STRIDE checkpoint: directory, Hugging Face repository or stride-tiny.",
    ),
    DeclareLaunchArgument(
        "responder_model",
        default_value="stride-tiny",
        description="Image-text model that speaks: directory, Hugging Face repository or stride-tiny.",
    ),
    DeclareLaunchArgument("namespace", default_value="stride", description="Namespace of all names."),
]


def generate_launch_description() -> LaunchDescription:
    names = ("params_file", "query", "model", "responder_model", "namespace")
    passed_on = {name: LaunchConfiguration(name) for name in names} | {"image_topic": "image"}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "stride.launch.py"])),
        launch_arguments=passed_on.items(),
    )
    camera = Node(
        package="stride_ros",
        executable="camera_node",
        name="camera",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        emulate_tty=True,
        parameters=[LaunchConfiguration("params_file"), {"source": LaunchConfiguration("source")}],
    )
    return LaunchDescription([*ARGUMENTS, nodes, camera])
