"""examples/speak.py says each commentary once, one at a time, and falls silent when it was a false alarm."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("stride_ros.msg", reason="the built messages of stride_ros are missing")
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile
from stride_ros.msg import ActivationSpan, Commentary

from stride_ros.nodes.qos import COMMENTARY_QOS, SPAN_QOS

ROSOUT = QoSProfile(depth=1000)
# A text-to-speech command that notes what it was given, starts a child as such commands do, and speaks until
# it finds a file with its process id. Two at the same time are noted as such.
VOICE = """\
#!{python}
import json, os, subprocess, sys, time
folder = {folder!r}
text = sys.stdin.read()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
busy = os.path.join(folder, "busy")
try:
    os.mkdir(busy)
except FileExistsError:
    text = "two voices at once"
note = dict(text=text, arguments=sys.argv[1:], pid=os.getpid(), child=child.pid)
with open(os.path.join(folder, "notes"), "a") as notes:
    notes.write(json.dumps(note) + "\\n")
while not os.path.exists(os.path.join(folder, str(os.getpid()))):
    time.sleep(0.02)
child.kill()
os.rmdir(busy)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Room:
    """The node under test, what it is told, and what its voice says."""

    def __init__(self, graph: Any, node: Callable[..., Any], span: Callable[..., Any], folder: Path) -> None:
        self.graph, self.folder, self._node, self._span = graph, folder, node, span
        self.voice = folder / "voice"
        self.voice.write_text(VOICE.format(python=sys.executable, folder=str(folder)))
        self.voice.chmod(0o755)
        self.spans = graph.observer.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)
        self.commentary = graph.observer.create_publisher(Commentary, "commentary", COMMENTARY_QOS)

    def start(self, arguments: str = "", **parameters: Any) -> Any:
        """Start the node; from now on it hears what is published."""
        command = f"{self.voice} {arguments}".strip()
        node = self.graph.host(
            self._node, {"command": command, "max_wait": 300.0, "timeout": 300.0, **parameters}
        )
        self.met()
        return node

    def met(self) -> None:
        """Wait until both topics have their subscriber."""
        for publisher in (self.spans, self.commentary):
            self.graph.wait(lambda p=publisher: p.get_subscription_count() == 1, publisher.topic_name)

    def tell(self, number: int, text: str, **fields: Any) -> None:
        self.commentary.publish(Commentary(span_id=number, text=text, **{"final": True, **fields}))

    def retract(self, number: int) -> None:
        self.spans.publish(self._span("RETRACTED", number, life=0))

    def notes(self) -> list[dict[str, Any]]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def hears(self, *texts: str) -> dict[str, Any]:
        """Wait for what was said so far; return the newest note."""
        self.graph.wait(lambda: len(self.notes()) >= len(texts), f"{len(texts)} utterances")
        assert [note["text"].strip() for note in self.notes()] == list(texts)
        return self.notes()[-1]

    def finish(self) -> None:
        """Let the utterance end that is being said."""
        (self.folder / str(self.notes()[-1]["pid"])).touch()

    def gone(self, note: dict[str, Any]) -> None:
        """Wait until the process of an utterance and what it started are no more."""
        for name in ("pid", "child"):
            self.graph.wait(lambda name=name: not alive(note[name]), f"the end of {name}")
        if (self.folder / "busy").exists():
            (self.folder / "busy").rmdir()


@pytest.fixture
def room(graph: Any, example: Callable[..., Any], span: Callable[..., Any], tmp_path: Path) -> Room:
    return Room(graph, example("speak").Speaker, span, tmp_path)


def test_says_final_texts_one_at_a_time(room: Room) -> None:
    room.start()
    room.tell(1, "A cup", final=False)
    room.tell(1, "A cup falls.")
    room.tell(2, "A door opens.")
    room.hears("A cup falls.")
    room.finish()
    room.hears("A cup falls.", "A door opens.")
    room.finish()
    room.tell(3, "The model failed half", status=Commentary.ERROR, error="The server is down.")
    room.tell(4, "", status=Commentary.SKIPPED, error="Too late.")
    room.tell(5, "A cat comes in.")
    room.hears("A cup falls.", "A door opens.", "A cat comes in.")


def test_retraction_ends_the_voice_with_all_it_started(room: Room) -> None:
    room.start()
    room.tell(1, "A cup falls.")
    note = room.hears("A cup falls.")
    room.retract(1)
    room.gone(note)
    room.tell(2, "A door opens.")
    room.hears("A cup falls.", "A door opens.")


def test_retraction_removes_what_waits_and_lets_others_be(room: Room) -> None:
    room.start()
    room.tell(1, "A cup falls.")
    room.tell(2, "A door opens.")
    room.tell(3, "A cat comes in.")
    note = room.hears("A cup falls.")
    room.retract(2)
    room.retract(99)
    marker = room.graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
    room.graph.wait(lambda: marker and marker[-1].span_id == 99, "the retractions")
    assert alive(note["pid"])
    room.finish()
    room.hears("A cup falls.", "A cat comes in.")


def test_retraction_may_come_before_the_commentary(room: Room) -> None:
    node = room.start()
    room.retract(1)
    room.graph.wait(lambda: 1 in node._retracted, "the retraction")
    room.tell(1, "A cup falls.")
    room.tell(2, "A door opens.")
    room.hears("A door opens.")


def test_says_nothing_that_was_published_before_it_came(room: Room) -> None:
    room.tell(1, "An old story.")
    room.start()
    room.tell(2, "A door opens.")
    room.hears("A door opens.")


def test_what_has_waited_too_long_is_not_said(room: Room) -> None:
    log = room.graph.collect(Log, "/rosout", ROSOUT)
    room.start(max_wait=0.0)
    room.tell(1, "A cup falls.")  # taken at once, yet later than the moment it came
    room.graph.wait(lambda: any("Not said" in line.msg for line in log), "the reason in the log")
    assert room.notes() == []


def test_voice_that_hangs_is_ended(room: Room) -> None:
    room.start(timeout=0.5)
    room.tell(1, "A cup falls.")
    room.gone(room.hears("A cup falls."))
    room.tell(2, "A door opens.")
    room.hears("A cup falls.", "A door opens.")


@pytest.mark.parametrize(
    "text",
    [
        "$(touch broken); `touch broken` && 'quoted' \"text\" | cat",
        "{text}",
        "Zwei Äpfel, 苹果",
        "x" * 200_000,
    ],
)
def test_text_reaches_standard_input_as_it_is(room: Room, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room.folder)
    room.start("-v en")
    room.tell(1, text)
    note = room.hears(text)
    assert note["arguments"] == ["-v", "en"]
    assert not (room.folder / "broken").exists()


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("A 'cup' falls; $HOME", "say: A 'cup' falls; $HOME"),
        ("-f /etc/passwd", "say:  -f /etc/passwd"),
    ],
)
def test_text_can_be_one_argument_and_never_an_option(room: Room, text: str, argument: str) -> None:
    room.start("-- 'say: {text}'")
    room.tell(1, text)
    assert room.hears("")["arguments"] == ["--", argument]


@pytest.mark.parametrize("command", ["no-such-voice -v en", "", 'sh "'])
def test_missing_command_is_one_sentence(processes: Any, command: str) -> None:
    process = processes.start("../examples/speak.py", "--ros-args", "-p", f"command:='{command}'")
    assert process.wait(120) == 2
    assert f"The command '{command}' was not found; install it" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_silences_it(room: Room, processes: Any, number: int) -> None:
    process = processes.start("../examples/speak.py", "--ros-args", "-p", f"command:={room.voice} -v en")
    room.met()
    room.tell(1, "A cup falls.")
    note = room.hears("A cup falls.")
    assert note["arguments"] == ["-v", "en"]
    process.send_signal(number)
    assert process.wait(60) == 0
    room.gone(note)
    assert "Traceback" not in process.log.read_text()


def test_command_that_cannot_run_does_not_end_the_node(room: Room) -> None:
    log = room.graph.collect(Log, "/rosout", ROSOUT)
    room.start()
    room.voice.chmod(0o644)
    room.tell(1, "A cup falls.")
    room.graph.wait(
        lambda: any("cannot be started: Perm" in line.msg for line in log), "the reason in the log"
    )
    room.voice.chmod(0o755)
    room.tell(2, "A door opens.")
    room.hears("A door opens.")
