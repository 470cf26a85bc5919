"""Code shared by the launch files. Needs `launch` and `launch_ros`, and nothing heavy."""
