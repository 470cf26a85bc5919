#!/bin/bash
# Source ROS 2, the workspace and the virtual environment, then become the command, so that it gets the signals.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
source /workspace/.venv/bin/activate
source /workspace/install/local_setup.bash
exec "$@"
