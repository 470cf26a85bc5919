"""`kill -9` at random moments: no ONSET gets two final Commentaries, and one that gets none is told of.

STRIDE_KILLS says how often each process is killed (default 3), STRIDE_KILLS_SEED where to begin.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from rclpy.qos import QoSProfile
from stride_ros.msg import Commentary

from stride_ros.nodes.qos import COMMENTARY_QOS, SPAN_QOS

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("STRIDE_KILLS", "3"))
SEED = int(os.environ.get("STRIDE_KILLS_SEED", "1"))
PERIOD = 0.25  # s between two ONSETs
AROUND = 1.0  # s around a kill in which an ONSET may be left without a final Commentary
# ONSETs that wait for a process that starts: the publisher keeps no more for it.
KEPT = SPAN_QOS.depth - 2
SOURCE = Path(__file__).with_name("onset_source.py")
PATIENCE = 120.0  # s; only reached by a test that fails


class Trial:
    """A responder and what stands for the activation node; either can be killed and started again."""

    def __init__(self, graph: Any, processes: Any, url: str) -> None:
        every = QoSProfile(depth=100_000, reliability=COMMENTARY_QOS.reliability)
        every.durability = COMMENTARY_QOS.durability
        self.said = graph.collect(Commentary, "commentary", every)
        self.kills: list[float] = []  # s since the epoch
        self.responders: list[Any] = []
        self._sources: list[Any] = []
        self._processes, self._url = processes, url
        self._due = 0.0

    def start(self, which: str) -> None:
        """Start a process: `responder` or `activation`."""
        if which == "activation":
            self._sources.append(self._processes.start(str(SOURCE), stdin=subprocess.PIPE))
            return
        values = {"backend": "openai", "model": "tiny", "base_url": self._url, "warm_up": "false"}
        flags = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
        self.responders.append(self._processes.start("responder_node", "--ros-args", *flags))

    def kill(self, which: str) -> None:
        """Kill a process and start the next one at once."""
        process = (self.responders if which == "responder" else self._sources)[-1]
        assert process.poll() is None, process.log.read_text()
        process.kill()
        self.kills.append(time.time())
        process.wait()
        self.start(which)

    def log(self) -> str:
        """What the responder says."""
        return self.responders[-1].log.read_text()

    def onsets(self) -> dict[int, float]:
        """When each ONSET was published (s since the epoch), in order."""
        lines = (line.split() for source in self._sources for line in source.log.read_text().splitlines())
        return {int(line[1]): float(line[2]) for line in lines if line[:1] == ["onset"]}

    def finals(self) -> dict[int, list[Any]]:
        """The final Commentaries of each span."""
        finals: dict[int, list[Any]] = {}
        for message in list(self.said):
            if message.final:
                finals.setdefault(message.span_id, []).append(message)
        return finals

    def works(self) -> bool:
        """Whether an ONSET of after the latest kill has its final Commentary."""
        finals, since = self.finals(), self.kills[-1] if self.kills else 0.0
        return any(when > since and span_id in finals for span_id, when in self.onsets().items())

    def publish(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Publish ONSETs at a steady rate for this time; true as soon as `until()` is.

        No more than the publisher keeps while no responder answers.
        """
        end = time.monotonic() + seconds
        while not until():
            now = time.monotonic()
            if now > end:
                return False
            if now >= self._due and "ready" in self._sources[-1].log.read_text() and self._waiting() < KEPT:
                self._due = now + PERIOD
                self._sources[-1].stdin.write(b"\n")
                self._sources[-1].stdin.flush()
            time.sleep(0.02)
        return True

    def _waiting(self) -> int:
        """The number of ONSETs after the newest one that has its final Commentary."""
        finals = self.finals()
        return next((i for i, span_id in enumerate(reversed(self.onsets())) if span_id in finals), 0)


@pytest.mark.parametrize("victim", ["responder", "activation"])
def test_no_onset_has_two_finals_and_the_missing_ones_are_told_of(
    graph, processes, chat_server, tmp_path, monkeypatch, victim
):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    chance = random.Random(f"{SEED} {victim}")
    trial = Trial(graph, processes, chat_server.url)
    trial.start("responder")
    trial.start("activation")
    for _ in range(KILLS):
        if chance.random() < 0.8:  # else while it starts
            assert trial.publish(PATIENCE, until=trial.works), trial.log()
        trial.publish(chance.uniform(0.0, 4 * PERIOD))
        trial.kill(victim)
    assert trial.publish(PATIENCE, until=trial.works), trial.log()
    # Answers come in the order of the ONSETs.
    graph.wait(lambda: next(reversed(trial.onsets())) in trial.finals(), "the last answer")

    onsets, finals = trial.onsets(), trial.finals()
    missing = {span_id: when for span_id, when in onsets.items() if span_id not in finals}
    statuses = Counter(final.status for messages in finals.values() for final in messages)
    lines = [line.split(" ", 3) for path in tmp_path.glob("stride_ros/*") for line in path.open()]
    states = {int(line[1]): line[2].strip() for line in lines}
    print(f"\n{KILLS} kills of {victim}, {len(onsets)} onsets; finals by status: {dict(statuses)}")
    for span_id, when in missing.items():
        distance = min((when - kill for kill in trial.kills), key=abs)
        print(f"no final for {span_id}, {distance:+.3f} s from a kill: {states.get(span_id, 'never heard')}")

    assert [span_id for span_id, messages in finals.items() if len(messages) > 1] == []
    # What the responder was publishing when it was killed, or what died with its publisher.
    listed = "uncertain" if victim == "responder" else None
    assert {span_id: states.get(span_id) for span_id in missing} == dict.fromkeys(missing, listed)
    assert all(min(abs(when - kill) for kill in trial.kills) < AROUND for when in missing.values())
