"""What the commands print: wrapped, never cut, and free of what would steer the terminal."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stride_ros.terminal import Progress, Style, columns, display_width, say, tell_notes, wrapped
from stride_ros.text.wording import counted, plural

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


class Terminal:
    """A stream that says it is a terminal and keeps what is written."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 spans"), (1, "1 span"), (2, "2 spans"), (1000, "1000 spans")]
)
def test_a_number_has_its_noun(number, text):
    assert counted(number, "span") == text


def test_nouns_that_do_not_end_with_s_have_their_own_plural():
    assert counted(1, "query", "queries") == "1 query"
    assert plural(2, "query", "queries") == "queries"


def test_a_line_that_begins_where_others_hang_does_so_on_a_narrow_terminal_too():
    lines = wrapped(" " * 20 + "a place that is far away", 30, hang=20)
    assert [len(line) - len(line.lstrip()) for line in lines] == [10] * len(lines)
    assert wrapped(" " * 20 + "a place", 90, hang=20) == [" " * 20 + "a place"]


def test_long_lines_break_at_spaces_and_hang():
    text = "0:06.0  says   " + "a red ball rolls over the table " * 5
    lines = wrapped(text.rstrip(), 60, 15)
    assert len(lines) > 2
    assert max(map(len, lines)) <= 60
    assert all(line.startswith(" " * 15) and line[15] != " " for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())


def test_columns_of_a_table_keep_their_spaces():
    assert wrapped("   3 x  Tell me.", 80, 7) == ["   3 x  Tell me."]
    assert wrapped("one\n\n  two", 80, 20) == ["one", "", "  two"]


def test_wide_characters_count_twice_and_break_anywhere():
    lines = wrapped("当有人进入视野时告诉我" * 8, 40)
    assert max(map(display_width, lines)) <= 40
    assert "".join(lines) == "当有人进入视野时告诉我" * 8
    assert display_width("\x1b[1mé\u0301\x1b[0m") == 1


def test_a_path_stays_whole_so_that_it_can_be_copied():
    path = "/home/someone/" + "very_long_name" * 6 + "/report.html"
    assert path in wrapped(f"Report: {path}", 60)[-1]


def test_colours_take_no_room(terminal):
    say("word " * 30, "bold", "green", stream=terminal, hang=4)
    lines = terminal.text.splitlines()
    assert all(line.startswith("\x1b[1;32m") and line.endswith("\x1b[0m") for line in lines)
    assert max(map(display_width, lines)) <= 60


def test_what_would_steer_the_terminal_is_shown_as_escapes(terminal, capsys):
    say("a\x1b]0;title\x07b\rc\x1b[2J", stream=terminal)
    assert terminal.text == "a\\x1b]0;title\\x07b\\rc\\x1b[2J\n"
    say("plain " * 40)
    assert capsys.readouterr().out.count("\n") == 1  # a pipe gets whole lines


def test_only_our_own_colours_reach_the_terminal(terminal):
    named = Style(terminal)("b\x1b[32m\nc", "bold")
    say(f"a\x1b[31m {named} \x1b[0m", "red", stream=terminal)
    assert terminal.text == "\x1b[31ma\\x1b[31m \x1b[1mb\\x1b[32m\\nc\x1b[0m \\x1b[0m\x1b[0m\n"


def test_a_note_stays_one_line_whatever_it_names(capsys):
    tell_notes(["a\nb\tc\x1b[31md"])
    assert capsys.readouterr().err == "Note: a\\nb\\tc\\x1b[31md\n"


def test_a_terminal_without_a_size_has_80_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    controller, worker = pty.openpty()
    with os.fdopen(worker, "w") as stream:
        assert columns(stream) == 80
    os.close(controller)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize(
    ("label", "total", "unit", "note"),
    [
        ("Playing", 60.0, "s", ""),
        ("Playing", 36000.0, "s", "waiting for the models to load"),
        ("Playing", 0.0, "s", "waiting for the models to load"),
        ("per frame, same weights, median of 3", 20, "clip", ""),
    ],
)
def test_the_progress_line_fits_and_keeps_its_note(terminal, monkeypatch, width, label, total, unit, note):
    monkeypatch.setenv("COLUMNS", str(width))
    with Progress(label, total, unit, stream=terminal) as progress:
        progress.update(total / 3, note)
        line = terminal.text.rsplit("\r\x1b[K", 1)[-1]
        assert 0 < display_width(line) < width
        assert note in line
    assert terminal.text.endswith("\r\x1b[K")  # nothing remains of it


def test_a_name_in_the_progress_does_not_steer_the_terminal(terminal):
    progress = Progress("a\x1b[2J", 1, "clip", stream=terminal)
    progress.update(0.5, "b\r\u202ec")
    progress.announce("d\nFORGED")
    assert not any(acts in terminal.text for acts in ("\x1b[2J", "\r\u202e", "\n"))


def test_the_progress_of_one_is_no_plural(terminal):
    Progress("Evaluating", 1, "clip", stream=terminal).update(1)
    assert "1/1 clip " in terminal.text + " "


def run_in_terminal(width, *arguments):
    """Text that a command shows in a pseudo terminal of this width, and its exit code."""
    controller, worker = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    import fcntl
    import struct
    import termios

    fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "stride_ros", *map(str, arguments)],
        cwd=ROOT,
        env=environment | {"TERM": "xterm", "LC_ALL": "C.UTF-8"},
        stdin=worker,
        stdout=worker,
        stderr=worker,
    )
    os.close(worker)
    shown = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(controller)
    return shown.decode().replace("\r\n", "\n"), process.wait(timeout=60)


def visible(shown):
    """The lines a person sees, also those that are overwritten later."""
    return [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in re.split(r"[\n\r]", shown)]


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        *[
            ([command, "--help"], 0)
            for command in ("demo", "replay", "bag", "world", "train", "evaluate", "benchmark", "respond")
        ],
        (["world", "--seed", "5"], 0),
        (["world", "--seconds", "-3"], 2),
        (["world", "--sede", "3", "--an-option-that-nobody-knows", "with a value of several words"], 2),
        (["replay", "no-such-bag", "--query", "Tell me when a person is in view."], 2),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_nothing_is_wider_than_the_terminal(width, arguments, code):
    shown, returned = run_in_terminal(width, *arguments)
    assert returned == code, shown
    assert max(map(display_width, visible(shown))) <= width
    assert "…" not in shown
