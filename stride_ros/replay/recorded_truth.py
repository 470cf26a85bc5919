"""What truly happens in a recording that says so itself, as those of the synthetic world do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from stride_ros.bags import messages
from stride_ros.bags.types import deserialise
from stride_ros.runs.record import Expected, Run
from stride_ros.text import topics
from stride_ros.user_files.values import spelling

if TYPE_CHECKING:
    from stride_ros.replay.recording import Recording

_OFFSET = 2  # state of ActivationSpan


def truth_topic(recording: Recording) -> str:
    """The topic with the ground truth, in any namespace; empty where there is none, or more than one."""
    found = [
        topic
        for topic, kind in recording.topics.items()
        if kind == messages.SPAN and topic.rpartition("/")[2] == topics.GROUND_TRUTH
    ]
    return found[0] if len(found) == 1 else ""


def add_recorded_truth(
    run: Run, recording: Recording, seconds: Callable[[int], float], *, by_log: bool
) -> None:
    """Put what the recording says into the run, as far as it was played.

    `seconds`: the time in the run of a stamp (ns); `by_log`: whether stamps are those of the log. Messages
    that cannot be read are left out.
    """
    topic = truth_topic(recording)
    if not topic:
        return
    texts: dict[int, str] = {}
    events: dict[int, tuple[str, float, float]] = {}  # query, start and end (s)
    for name, log_time, message in _read(recording, topic):
        if name != topic:
            texts[message.span_id] = message.text
            continue
        shift = log_time - messages.nanoseconds(message.header.stamp) if by_log else 0
        start = seconds(messages.nanoseconds(message.start) + shift)
        over = message.state == _OFFSET
        end = seconds(messages.nanoseconds(message.end) + shift) if over else math.inf
        events[message.span_id] = message.query, start, end
    last = run.begin + run.seconds
    for query in run.queries:
        query.expected = [
            Expected(max(start, run.begin), min(end, last), texts.get(number, ""))
            for number, (asked, start, end) in sorted(events.items(), key=lambda item: item[1][1:])
            if spelling(asked) == spelling(query.query) and end > run.begin and start < last
        ]


def _read(recording: Recording, topic: str) -> Iterator[tuple[str, int, Any]]:
    """The messages on the topic and of its sentences, with topic and log time (ns)."""
    commentary = topic.removesuffix(topics.GROUND_TRUTH) + topics.GROUND_TRUTH_COMMENTARY
    for message in recording.messages([topic, commentary]):
        if message.channel.msgtype not in messages.OWN:
            continue
        try:
            yield message.channel.topic, message.log_time, deserialise(message.channel, message.data)
        except Exception:  # the deserialisers fail in many ways on data that is cut off
            continue
