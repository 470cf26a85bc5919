"""stride.launch.py included by the launch files of a robot, in each language that launch has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch", reason="launch is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("torch")

PAGE = Path(__file__).parents[2] / "docs" / "launch.md"
CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
LANGUAGES = [("xml", "launch_xml"), ("yaml", "launch_yaml"), ("python", "launch")]
TOPICS = {"front": "/front_camera/image_raw", "rear": "/rear_camera/image_raw"}


@pytest.mark.parametrize(("language", "package"), LANGUAGES)
def test_the_files_of_the_page_bring_up_two_cameras(
    language: str, package: str, start: Callable[..., Any], graph: Any, tmp_path: Path
) -> None:
    pytest.importorskip(package, reason=f"{package} is not on PyPI; source a ROS 2 distribution")
    (content,) = re.findall(rf"```{language}\n(.*?robot.launch.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / ("robot.launch.py" if language == "python" else f"robot.launch.{language}")
    file.write_text(content)
    quick = ("autostart:=false", "use_responder:=false", f"model:={CHECKPOINT}")
    launched = start(file, *quick)
    for namespace, query in (
        ("front", "Tell me when a person is in view."),
        ("rear", "Tell me when the door opens."),
    ):
        node = f"/{namespace}/activation"
        graph.until_state(node, "unconfigured")
        assert graph.parameters(node, "query", "model") == [query, CHECKPOINT]
    remapped = re.findall(r"-r image:=(\S+?)['\]\s]", " ".join(command_lines(launched)))
    assert sorted(remapped) == sorted(TOPICS.values())
    assert launched.interrupt() == 0
    assert not launched.left_behind()


def command_lines(launched: Any) -> list[str]:
    """The command lines of the nodes' processes."""
    return [
        Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() + " "
        for pid in launched.pids("activation_node")
    ]
