"""Pages and files that tools write are what the tools would write now."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from stride_ros.parameters import activation, camera, event_log, responder

ROOT = Path(__file__).parents[2]
TABLES = {
    "activation": activation.TABLE,
    "responder": responder.TABLE,
    "event_log": event_log.TABLE,
    "camera": camera.TABLE,
}


def check(tool: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / tool), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python tools/{tool}"


def test_parameter_file_and_page_are_up_to_date() -> None:
    check("write_parameters.py")


@pytest.mark.skipif(find_spec("grimp") is None, reason="grimp is missing; pip install import-linter")
def test_table_and_picture_of_the_layers_are_up_to_date() -> None:
    check("draw_layers.py")


def test_the_readme_names_parameters_that_exist() -> None:
    section = (ROOT / "README.md").read_text().partition("## Parameters\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, flags=re.MULTILINE)
    assert rows
    for node, names in rows:
        known = {spec.name for spec in TABLES[node]}
        assert set(re.findall(r"`([\w.]+)`", names)) <= known
