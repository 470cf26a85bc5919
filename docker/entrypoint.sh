#!/bin/bash
# Source ROS 2, the virtual environment and the workspace, then exec the command, so that it receives the signals.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
source /workspace/.venv/bin/activate
source /workspace/install/local_setup.bash
exec "$@"
