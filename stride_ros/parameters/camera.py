"""Parameters of the camera node. Needs no ROS."""

from __future__ import annotations

from stride_ros.parameters.table import START, ParameterSpec, Table

TABLE: Table = (
    ParameterSpec(
        "source",
        "world",
        "Source of the images: world (synthetic, with ground truth), a video file, an image folder, a bag, "
        "or a camera (/dev/video0).",
        START,
    ),
    ParameterSpec("source_topic", "", "Image topic to play from a bag; empty: the only one.", START),
    ParameterSpec(
        "rate", 10.0, "Frame rate (Hz); a maximum if the source has its own rate.", START, (0.1, 120.0)
    ),
    ParameterSpec(
        "speed", 1.0, "Playback speed of a file or world, as a factor of real time.", START, (0.01, 1000.0)
    ),
    ParameterSpec(
        "loop", False, "Start over at the end (a world with the next seed); stamps keep increasing.", START
    ),
    ParameterSpec(
        "seconds", 0.0, "Duration to play (s); 0: all of it, or 60 s of a world.", START, (0.0, 86400.0)
    ),
    ParameterSpec("seed", 0, "Random seed of the world.", START, (0, 2**31 - 1)),
    ParameterSpec(
        "width", 0, "Width to scale to (px); 0: the source's own, 640 for the world.", START, (0, 8192)
    ),
    ParameterSpec(
        "height", 0, "Height to scale to (px); 0: the source's own, 480 for the world.", START, (0, 8192)
    ),
    ParameterSpec("frame_id", "camera", "frame_id in the header of the images.", START),
    ParameterSpec(
        "camera_info_url",
        "",
        "Calibration for camera_info: a YAML file's path, file:// or package:// URL; empty: uncalibrated.",
        START,
    ),
    ParameterSpec("compressed", False, "Also publish JPEG images on image/compressed.", START),
    ParameterSpec(
        "wait_for_subscriber",
        False,
        "Start only when there is a subscriber to the images.",
        START,
        depends="true if compose also starts the activation node",
    ),
)
