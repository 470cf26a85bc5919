"""A process that keeps goals open, cancels some, and writes the result of each as a line of JSON."""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from typing import Any

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationSpan, WatchSpec

from goal_soak.graph import CAMERAS, RESULT, SECOND, Client, wait

QUERIES = (
    "Tell me when a hand is in view.",
    "Tell me when a blue ball is on the table.",
    "Tell me when a green box is on the table.",
)
LATE = 30.0  # s by which a result may exceed its timeout on a busy machine


def run_client(options: argparse.Namespace, node: Any) -> bool:
    """Keep some goals open until the time is over or this process is killed."""
    rng, client = random.Random(options.seed), Client(node)
    names = CAMERAS[: options.cameras]
    end = time.monotonic() + options.seconds
    writing = threading.Lock()

    def write(line: dict[str, Any]) -> None:
        with writing:  # a line is written in two parts
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()

    def keep_one(seed: float) -> None:
        own = random.Random(seed)
        while time.monotonic() < end:
            write(one_goal(own, client, names))

    threads = [threading.Thread(target=keep_one, args=(rng.random(),)) for _ in range(options.goals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write({"answers": dict(client.answers)})
    return True


def one_goal(rng: random.Random, client: Client, names: tuple[str, ...]) -> dict[str, Any]:
    """Send a goal, perhaps cancel it, and judge its end as far as a client can.

    Times are those of the machine's monotonic clock, which all processes share.
    """
    until, timeout = rng.randrange(2), rng.choice([0.5, 2.0, 8.0, 20.0])
    look_back = Duration(sec=rng.choice([0, 0, 5, 30]))
    query, named = rng.choice(QUERIES), rng.random() < 0.2
    cameras = rng.sample(names, rng.randint(1, len(names))) if names and not named else []
    spec = WatchSpec(id="query") if named else WatchSpec(query=query, look_back=look_back, cameras=cameras)
    goal = WaitForEvent.Goal(watch=spec, until=until, accept_open=rng.random() < 0.5)
    goal.timeout = Duration(sec=int(timeout), nanosec=int(timeout % 1 * SECOND))
    begin = time.monotonic()
    handle, future = client.send(goal)
    accepted = time.monotonic()
    canceled = False
    if rng.random() < 0.4:
        time.sleep(rng.uniform(0.0, timeout))
        canceled = bool(wait(client.call(handle.cancel_goal_async)).goals_canceling)
    answer = wait(future)
    ended = time.monotonic()
    code, status, span = answer.result.error_code, answer.status, answer.result.span
    right = {
        RESULT.NONE: status == GoalStatus.STATUS_SUCCEEDED
        and span.span_id > 0
        and (span.state == ActivationSpan.OFFSET or until == WaitForEvent.Goal.ONSET)
        and not canceled,
        RESULT.TIMEOUT: status == GoalStatus.STATUS_ABORTED and timeout <= ended - begin < timeout + LATE,
        RESULT.CANCELED: status == GoalStatus.STATUS_CANCELED and canceled,
    }.get(code, False)
    return {
        "code": code,
        "reason": answer.result.error_msg,
        "right": bool(right),
        "late": max(0.0, ended - begin - timeout) if code == RESULT.TIMEOUT else 0.0,
        "named": named,
        "until": until,
        "query": query,
        "cameras": cameras,
        "accepted": accepted,
        "deadline": begin + timeout,
        "span": [span.span_id, span.watch, span.camera, span.query] if span.span_id else None,
    }
