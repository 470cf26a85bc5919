"""The robot's abilities as tools for an agent: descriptions with JSON schemas, and how to run a call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stride_ros.client.errors import ClientError, TimedOut
from stride_ros.client.robot import Robot, duration
from stride_ros.msg import WatchSpec

_QUERY = {
    "type": "string",
    "description": "What to watch for, as an instruction: 'Tell me when a person is in view.'",
    "minLength": 1,
    "maxLength": 1000,
}
_SECONDS = {"type": "number", "minimum": 0}
_CAMERAS = {
    "type": "array",
    "items": {"type": "string"},
    "maxItems": 64,
    "description": "Names of the cameras to watch, if the robot has several; by default all of them.",
}


def _tool(name: str, description: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        },
    }


# In the format of the OpenAI protocol's `function` objects; other protocols rename `parameters`.
TOOLS: tuple[dict[str, Any], ...] = (
    _tool(
        "wait_for_event",
        "Wait until the robot's camera sees something begin or end. Returns what happened and when, or that "
        "nothing happened in time.",
        {
            "query": _QUERY,
            "until": {
                "type": "string",
                "enum": ["onset", "offset"],
                "description": "onset (default): until it begins; offset: until it is over. With "
                "look_back, offset is satisfied by the end of an earlier event too.",
            },
            "timeout": {**_SECONDS, "maximum": 3600, "description": "Maximum seconds to wait; default 60."},
            "look_back": {
                **_SECONDS,
                "maximum": 600,
                "description": "Seconds; events in this time before the call count, too. Default 0.",
            },
            "cameras": _CAMERAS,
        },
        "query",
    ),
    _tool(
        "describe",
        "Ask what the robot's camera sees now or saw in the last seconds. Returns the answer of a vision "
        "model, which may be wrong.",
        {
            "question": {"type": "string", "minLength": 1, "maxLength": 1000},
            "last": {
                **_SECONDS,
                "maximum": 600,
                "description": "Seconds of video to look at; 0 (default): only the newest picture.",
            },
            "camera": {
                "type": "string",
                "description": "Name of the camera, if the robot has several.",
            },
        },
        "question",
    ),
    _tool(
        "add_watch",
        "Watch for something from now on, so that wait_for_event with look_back finds it at once. Returns "
        "the id of the watch.",
        {
            "query": _QUERY,
            "lifetime": {
                **_SECONDS,
                "maximum": 86400,
                "description": "Seconds until the watch ends by itself; default 600.",
            },
            "cameras": _CAMERAS,
        },
        "query",
    ),
    _tool(
        "remove_watch",
        "Remove a watch that add_watch added.",
        {"id": {"type": "string", "description": "The id that add_watch returned."}},
        "id",
    ),
)


def call(robot: Robot, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a tool call of an agent and block until it is over; return values that JSON can hold.

    Does not raise for mistakes of the agent: `error` has the sentence to return to it.
    """
    tool = next((tool for tool in TOOLS if tool["name"] == name), None)
    if tool is None:
        names = ", ".join(tool["name"] for tool in TOOLS)
        return {"error": f"There is no tool {name!r}; use one of {names}."}
    try:
        _check(tool["parameters"], arguments)
        return _RUN[name](robot, **arguments)
    except TimedOut:
        return (
            {"happened": False}
            if name == "wait_for_event"
            else {"error": "Timed out waiting for the answer."}
        )
    except (ClientError, ValueError) as error:
        return {"error": str(error)}


def _check(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for arguments that the schema does not allow."""
    properties = schema["properties"]
    for name in schema["required"]:
        if name not in arguments:
            raise ValueError(f"The argument {name} is missing.")
    for name, value in arguments.items():
        if name not in properties:
            raise ValueError(f"There is no argument {name}; use {', '.join(properties)}.")
        wanted = properties[name]
        if wanted["type"] == "string":
            if not isinstance(value, str):
                raise ValueError(f"{name} is {value!r}; use a string.")
            if value not in wanted.get("enum", [value]):
                raise ValueError(f"{name} is {value!r}; use {' or '.join(wanted['enum'])}.")
        elif wanted["type"] == "array":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValueError(f"{name} is {value!r}; use a list of strings.")
            if len(value) > wanted["maxItems"]:
                raise ValueError(f"{name} has {len(value)} items; use at most {wanted['maxItems']}.")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} is {value!r}; use a number.")
        elif not wanted["minimum"] <= value <= wanted["maximum"]:
            raise ValueError(f"{name} is {value!r}; use {wanted['minimum']} to {wanted['maximum']}.")


def _wait(
    robot: Robot,
    query: str,
    until: str = "onset",
    timeout: float = 60.0,
    look_back: float = 0.0,
    cameras: Sequence[str] = (),
) -> dict[str, Any]:
    found = robot.wait_for(
        query, until=until, timeout=timeout or None, look_back=look_back, cameras=cameras
    ).result()
    span = found.span
    return {
        "happened": True,
        **({"camera": span.camera} if span.camera else {}),
        "start": _seconds(span.start),
        "end": _seconds(span.end),
        "is_over": span.state == span.OFFSET,
        "confidence": round(float(span.confidence), 3),
    }


def _describe(robot: Robot, question: str, last: float = 0.0, camera: str = "") -> dict[str, Any]:
    answer = robot.describe(question, last=last, camera=camera).result()
    return {"answer": answer.text, "frames": [_seconds(stamp) for stamp in answer.frame_stamps]}


def _add(robot: Robot, query: str, lifetime: float = 600.0, cameras: Sequence[str] = ()) -> dict[str, Any]:
    name = f"watch_{secrets.token_hex(8)}"
    spec = WatchSpec(query=query, id=name, lifetime=duration(lifetime), owner="agent", cameras=list(cameras))
    return {"id": robot.add_watch(spec).result()}


def _remove(robot: Robot, id: str) -> dict[str, Any]:
    robot.remove_watch(id).result()
    return {"removed": True}


_RUN: dict[str, Callable[..., dict[str, Any]]] = {
    "wait_for_event": _wait,
    "describe": _describe,
    "add_watch": _add,
    "remove_watch": _remove,
}


def _seconds(stamp: Any) -> float:
    """A Time message in s since the epoch."""
    return float(stamp.sec) + float(stamp.nanosec) / 1e9
