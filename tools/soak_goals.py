"""Stress `wait_for_event` goals against a node in another process, and check their results.

    python tools/soak_goals.py cancel --count 500              # while each decision takes seconds
    python tools/soak_goals.py many --seconds 300 --cameras 3  # clients that cancel, time out and are killed
    python tools/soak_goals.py look-back --count 50            # goals that come 3 s after an event began

`cancel` makes a checkpoint with random weights that is large enough for slow decisions, and prints how long
the clients waited for CANCELED. `many` keeps 50 goals open on random cameras that show synthetic worlds. It
checks each result against what the node published, that each result came once, that the list of watches at
the end is the same as at the beginning, and that on each camera the spans of the parameters' watch are those
of an engine that saw only the recorded frames. `look-back` waits for an event that has begun, with half of
the goals for an existing watch and half for a new one. Exit code 1 means that something is wrong.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from goal_soak import graph  # first, since it finds the package and sets the graph's environment

# isort: split
import rclpy
from goal_soak.cancels import run_cancel
from goal_soak.clients import run_client
from goal_soak.look_back import run_look_back
from goal_soak.many import run_many

from stride_ros.nodes.executor_thread import ExecutorThread

PARTS = {"cancel": run_cancel, "many": run_many, "look-back": run_look_back}


def main() -> int:
    """Run one of the parts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=(*PARTS, "client"))
    parser.add_argument("--seed", type=int, default=1)
    names = f"number of named cameras, up to {len(graph.CAMERAS)}; 0: one unnamed camera"
    parser.add_argument("--cameras", type=int, default=0, help=names)
    parser.add_argument("--nice", type=int, default=0, help="niceness of the node")
    parser.add_argument("--count", type=int, default=0, help="cancels (500), or goals that look back (50)")
    parser.add_argument("--pause", type=float, default=1.0, help="maximum s from a goal to its cancel")
    parser.add_argument("--hidden", type=int, default=768, help="size of the slow checkpoint's model")
    parser.add_argument("--layers", type=int, default=12, help="layers of the slow checkpoint's model")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--goals", type=int, default=50, help="number of goals at once")
    parser.add_argument("--clients", type=int, default=5, help="number of processes that send them")
    options = parser.parse_args()
    options.count = options.count or {"cancel": 500, "look-back": 50}.get(options.part, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no node is left behind
    rclpy.init()
    node = rclpy.create_node(f"soak_{os.getpid()}")
    thread = ExecutorThread(node)
    if options.part == "client":
        good = run_client(options, node)
    else:
        with tempfile.TemporaryDirectory() as folder:
            good = PARTS[options.part](options, Path(folder), node)
    thread.close()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
