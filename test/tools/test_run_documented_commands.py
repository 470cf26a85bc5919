"""Commands in the pages are found whole and in order, with options that exist; reasons skip some."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import run_documented_commands as documented

ALL = [command for page in documented.pages() for command in documented.commands(page)]
OURS = [command for command in ALL if command.arguments is not None]


def ids(commands: list[documented.Command]) -> list[str]:
    return [command.place for command in commands]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(documented, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "Text with `stride-ros demo`.\n\n"
        "```bash\nstride-ros world \\\n  --seed 5   # a clip\n# only a comment\nmake demo\n```\n\n"
        "    stride-ros doctor\n\n"
        "    no command, but an indented text\n\n"
        "```console\n$ stride-ros replay bag\nfound nothing\n```\n\n"
        "```python\nstride_ros = 1\n```\n"
    )
    return page


def test_commands_are_found_in_order_with_their_lines(page: Path) -> None:
    assert [(command.place, command.text) for command in documented.commands(page)] == [
        ("page.md:4", "stride-ros world --seed 5"),
        ("page.md:7", "make demo"),
        ("page.md:10", "stride-ros doctor"),
        ("page.md:15", "stride-ros replay bag"),
    ]


@pytest.mark.parametrize("command", OURS, ids=ids(OURS))
def test_options_of_our_commands_exist(command: documented.Command) -> None:
    assert command.arguments is not None
    assert documented.wrong_options(command.arguments) == ""


@pytest.mark.parametrize(
    "wrong", [["replay", "bag", "--speed-up", "2"], ["repeat", "bag"], ["world", "--seed", "x"]]
)
def test_an_option_that_is_not_there_is_told(wrong: list[str]) -> None:
    assert documented.wrong_options(wrong)


@pytest.mark.parametrize("pattern", documented.SKIPPED)
def test_each_reason_not_to_run_is_one_of_some_command(pattern: str) -> None:
    assert any(re.search(pattern, command.text) for command in ALL)


def test_modules_and_launch_arguments_that_are_named_exist() -> None:
    for command in ALL:
        for module in re.findall(r"-m (stride_ros[\w.]*)", command.text):
            assert find_spec(module) is not None, command
        if launch := re.search(r"ros2 launch stride_ros (\S+)(.*)", command.text):
            text = (documented.ROOT / "launch" / launch.group(1)).read_text()
            for word in shlex.split(launch.group(2)):
                name, given, _ = word.partition(":=")
                assert not given or f'"{name}"' in text, command


def test_a_failure_is_told_and_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [
        documented.Command("page.md:1", "echo words; exit 3"),
        documented.Command("page.md:2", "true"),
    ]
    monkeypatch.setattr(documented, "pages", lambda: [Path("page.md")])
    monkeypatch.setattr(documented, "commands", lambda page: iter(commands))
    monkeypatch.setattr(documented, "PREPARED", ())
    assert documented.main([]) == 1
    said = capsys.readouterr().out
    assert "FAILED   page.md:1  echo words; exit 3" in said
    assert "exit code 3\nwords" in said
    assert "2 commands: 0 skipped, 1 failed" in said
