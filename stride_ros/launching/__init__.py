"""What the launch files share. Needs `launch` and `launch_ros`, and nothing that is heavy."""
