"""A client for missions: wait for events, add watches and ask questions, with await or blocking."""

from stride_ros.client.errors import Canceled, ClientError, NodeLost, Refused, TimedOut
from stride_ros.client.pending import Pending
from stride_ros.client.robot import Event, Robot
from stride_ros.client.watch import RobotWatch

__all__ = [
    "Canceled",
    "ClientError",
    "Event",
    "NodeLost",
    "Pending",
    "Refused",
    "Robot",
    "RobotWatch",
    "TimedOut",
]
