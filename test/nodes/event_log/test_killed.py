"""What ended more than a second before the node was killed is in the log, and nothing is there twice.

EVENT_LOG_EVENTS and EVENT_LOG_KILLS make the test larger than it is by default; EVENT_LOG_SEED chooses the
moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest

from stride_ros.events.record import OFFSET as OVER

from .conftest import LIFE, OFFSET, ONSET, UPDATE

EVENTS = int(os.environ.get("EVENT_LOG_EVENTS", "400"))
KILLS = int(os.environ.get("EVENT_LOG_KILLS", "2"))
SEED = int(os.environ.get("EVENT_LOG_SEED", "20"))
RATE = 100  # events a second


def test_events_outlive_kills(log, processes):
    chance = random.Random(SEED)
    arguments = ("--ros-args", "-p", f"file:={log.path}")
    # Moments by the number of events that were published, so that each life has some.
    moments = sorted(chance.sample(range(EVENTS // 10, EVENTS), KILLS))
    sent: list[
        list[tuple[int, float]]
    ] = []  # by life of the node: numbers and when their OFFSET was published
    killed: list[float] = []
    number = 0
    for last in [*moments, EVENTS]:
        process = processes.start("event_log_node", *arguments)
        log.publish_anew()  # else the node would hear again what its former life was to keep
        sent.append([])
        log.heard(10**6 + len(sent))
        log.graph.wait(log.said.get_subscription_count, "the node to hear commentary")
        while number < last:
            number += 1
            log.span(number, ONSET)
            log.span(number, UPDATE, 1.0)
            if number % 3 == 0:
                log.say(number, f"sentence {number}")
            log.span(number, OFFSET, 2.0)
            sent[-1].append((number, time.monotonic()))
            time.sleep(chance.random() * 2 / RATE)  # the rate of the load, not a wait for something
        killed.append(time.monotonic())
        process.send_signal(signal.SIGKILL)
        process.wait()

    events = [event for event in log.kept() if event.span_id < LIFE + 10**6]
    assert max(Counter(event.span_id for event in events).values(), default=1) == 1
    over = {event.span_id - LIFE for event in events if event.state == OVER}
    owed = {n for life, end in zip(sent, killed, strict=True) for n, at in life if at < end - 1.0}
    missing = sorted(owed - over)
    assert not missing, f"seed {SEED}: {len(missing)} of {len(owed)} are missing: {missing[:20]}"
    assert {event.span_id - LIFE for event in events} <= set(range(1, EVENTS + 1))
    # A kill may come between a sentence and the OFFSET of its event.
    said = {event.span_id - LIFE: event.sentence for event in events if event.sentence}
    assert said == {n: f"sentence {n}" for n in said if n % 3 == 0}
    print(f"{len(over)} of {EVENTS} events, {len(owed)} owed, {KILLS} kills")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_is_stopped_writes_what_it_heard_and_leaves_one_file(log, processes, signal_number):
    process = processes.start("event_log_node", "--ros-args", "-p", f"file:={log.path}")
    log.publish_anew()
    log.heard(0)
    for number in range(50):
        log.span(number, ONSET)
        log.span(number, OFFSET, 1.0)
    log.until(lambda a: a.total == 50, "all")
    process.send_signal(signal_number)
    assert process.wait() == 0, process.log.read_text()
    assert sorted(path.name for path in log.path.parent.glob("events.db*")) == [
        "events.db",
        "events.db-writer",
    ]
    assert {event.state for event in log.kept()} == {OVER}
