"""A package of somebody else (test/downstream) is built against the installed one, and receives spans."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("stride_ros.msg", reason="the built messages of stride_ros are missing")
from stride_ros.msg import ActivationSpan

from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import SPAN_QOS

PACKAGE = Path(__file__).parents[1] / "downstream"
ROOT = Path(__file__).parents[2]
SPAN_ID = 2**53 - 1
EXPECTED = (
    f"id={SPAN_ID} state={{}} start=1700000000.250000000 end=1700000003.000000001 onset=1700000002.000000000 "
    "confidence=0.75 respond=1 watch=query frame=front Tell me when “Ä” is in view."
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package's programs, built with colcon against the installed stride_ros."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for program in ("c++", "cmake"):
        if shutil.which(program, path=path) is None:
            pytest.skip(f"{program} is missing")
    if find_spec("colcon_core") is None:
        pytest.skip("colcon is missing")
    folder = tmp_path_factory.mktemp("downstream")
    prefixes = [os.environ.get("CMAKE_PREFIX_PATH", ""), os.environ["AMENT_PREFIX_PATH"]]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "colcon", "--log-base", "log", "build", "--base-paths", str(PACKAGE)),
            *("--build-base", "build", "--install-base", "install", "--event-handlers", "console_direct+"),
            *("--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}"),
        ],
        cwd=folder,
        env={**os.environ, "PATH": path, "CMAKE_PREFIX_PATH": os.pathsep.join(filter(None, prefixes))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "install" / "stride_downstream" / "lib" / "stride_downstream"


@pytest.fixture
def spans(graph: Any) -> None:
    """One span from ONSET to OFFSET, for whoever subscribes late."""
    publisher = graph.observer.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)
    for state in (ActivationSpan.ONSET, ActivationSpan.UPDATE, ActivationSpan.OFFSET):
        message = ActivationSpan(
            span_id=SPAN_ID,
            state=state,
            query="Tell me when “Ä” is in view.",
            start=to_time(1_700_000_000_250_000_000),
            end=to_time(1_700_000_003_000_000_001),
            onset=to_time(1_700_000_002_000_000_000),
            confidence=0.75,
            respond=True,
            watch="query",
        )
        message.header.frame_id = "front"
        publisher.publish(message)


@pytest.mark.parametrize(
    "command", [["span_listener"], [sys.executable, "span_listener.py"]], ids=["cpp", "py"]
)
def test_downstream_node_receives_a_span(installed: Path, spans: None, command: list[str]) -> None:
    program = [*command[:-1], str(installed / command[-1])]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [EXPECTED.format(state) for state in (0, 1, 2)]


def test_every_interface_is_compiled_for_cpp() -> None:
    """interfaces.cpp includes the header of each file of msg/, srv/ and action/."""
    included = set(
        re.findall(r'#include "stride_ros/(\w+/\w+)\.hpp"', (PACKAGE / "src/interfaces.cpp").read_text())
    )
    files = [path for kind in ("msg", "srv", "action") for path in (ROOT / kind).iterdir()]
    snake = {re.sub(r"(?<!^)(?=[A-Z])", "_", path.stem).lower(): path.parent.name for path in files}
    assert included == {f"{kind}/{name}" for name, kind in snake.items()}
