"""A flood of ONSETs, and a ROS_HOME that cannot be used: each ONSET has one final, and the node goes on."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")

pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from rcl_interfaces.msg import Log

ONSET = 0
OK, ERROR, SKIPPED = range(3)
FLOOD = 3000  # ONSETs in a burst; see test/response for more


def place(kind: str, home: Path) -> Path:
    """Make something in ROS_HOME that is in the way, and return its path."""
    folder = home / "stride_ros"
    ledger = folder / f"responder.{os.environ['ROS_DOMAIN_ID']}.answered"
    if kind == "ledger is a FIFO":
        folder.mkdir()
        os.mkfifo(ledger)
        return ledger
    if kind == "folder is a FIFO":
        os.mkfifo(folder)
    else:
        folder.write_text("")
    return folder


@pytest.mark.parametrize("kind", ["ledger is a FIFO", "folder is a FIFO", "folder is a file"])
def test_an_unusable_home_is_told_and_the_node_goes_on(stage, chat_server, tmp_path, kind):
    from diagnostic_msgs.msg import DiagnosticArray

    blocked = place(kind, tmp_path)
    logs = stage.graph.collect(Log, "/rosout", 1000)
    statuses = stage.graph.collect(DiagnosticArray, "/diagnostics")
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    assert stage.finals(1)[1].status == OK

    def said() -> list[str]:
        return [log.msg for log in list(logs) if "lost at exit" in log.msg]

    (sentence,) = stage.graph.wait(said, "the warning")
    assert str(blocked) in sentence
    assert sentence.endswith("; remove it." if "ledger" in kind else "; set ROS_HOME to a writable folder.")

    def warned() -> bool:
        return any(sentence in entry.message for message in list(statuses) for entry in message.status)

    stage.graph.wait(warned, "the warning on /diagnostics")
    assert len(said()) == 1, "once"


def test_without_a_home_the_node_goes_on(stage, chat_server, monkeypatch, tmp_path):
    """As a user without an entry in passwd, in a container."""

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.chdir(tmp_path)
    for name in ("ROS_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    logs = stage.graph.collect(Log, "/rosout", 1000)
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    assert stage.finals(1)[1].status == OK
    remedy = "has no home folder; set ROS_HOME to a writable folder."
    stage.graph.wait(lambda: [log for log in list(logs) if log.msg.endswith(remedy)], "the warning")
    assert list(tmp_path.iterdir()) == []


def test_each_onset_of_a_flood_has_one_final(stage, chat_server):
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile
    from stride_ros.msg import Commentary

    chat_server.then("hang")
    every = QoSProfile(depth=5000, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    said = stage.graph.collect(Commentary, "commentary", every)
    stage.span_qos = every
    stage.start(backend="openai", base_url=chat_server.url, model="tiny", read_timeout=600.0)
    stage.frames(0, 1, 2)
    for span_id in range(1, FLOOD + 1):
        stage.span(span_id, ONSET, 1.0, 2.0, watch=str(span_id))
    stage.graph.wait(lambda: stage.node.onsets == FLOOD, "the ONSETs")
    stage.transit("deactivate")
    stage.graph.wait(lambda: sum(message.final for message in list(said)) >= FLOOD, "the finals")
    finals = Counter(message.span_id for message in list(said) if message.final)
    assert finals == dict.fromkeys(range(1, FLOOD + 1), 1)
