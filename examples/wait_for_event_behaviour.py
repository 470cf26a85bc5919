#!/usr/bin/env python3
"""A py_trees behaviour that waits for an event, and a tree that greets visitors.

    python3 -m pip install py_trees
    python3 wait_for_event_behaviour.py

It is RUNNING while it waits, SUCCESS when the event has come, and FAILURE if it did not come in time or the
request failed. A branch of higher priority that takes over cancels the goal.
"""

from __future__ import annotations

import time
from typing import Any

import py_trees

from stride_ros.client import ClientError, Pending, Robot


class WaitForEvent(py_trees.behaviour.Behaviour):
    """Waits like `Robot.wait_for`, whose arguments it takes; the result is in `event`."""

    def __init__(self, name: str, robot: Robot, *args: Any, **kwargs: Any) -> None:
        super().__init__(name)
        self._robot, self._args, self._kwargs = robot, args, kwargs
        self._pending: Pending | None = None
        self.event: Any = None

    def initialise(self) -> None:
        """Send a goal each time the behaviour begins."""
        self.event, self.feedback_message = None, ""
        self._pending = self._robot.wait_for(*self._args, **self._kwargs)

    def update(self) -> py_trees.common.Status:
        """Check the goal without blocking."""
        if not self._pending.done():
            return py_trees.common.Status.RUNNING
        try:
            self.event = self._pending.result()
        except ClientError as error:
            self.feedback_message = str(error)
            return py_trees.common.Status.FAILURE
        return py_trees.common.Status.SUCCESS

    def terminate(self, new_status: py_trees.common.Status) -> None:
        """Cancel the goal if another branch takes over."""
        if new_status == py_trees.common.Status.INVALID and self._pending is not None:
            self._pending.cancel()


def main() -> None:
    with Robot() as robot:
        someone = WaitForEvent("someone comes", robot, "Tell me when a person is in view.", timeout=60.0)
        hello = py_trees.behaviours.Success("say hello")
        tree = py_trees.trees.BehaviourTree(
            py_trees.composites.Sequence("greet", memory=True, children=[someone, hello])
        )
        while True:
            tree.tick()
            print(py_trees.display.unicode_tree(tree.root, show_status=True))
            time.sleep(1.0)


if __name__ == "__main__":
    main()
