"""Workflows name what exists and what docs/support.md says; actions are pinned. They run on GitHub only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
by_name = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())["jobs"]


@by_name
def test_actions_are_pinned_and_say_their_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action


@by_name
def test_a_workflow_may_only_read_and_every_job_ends(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in jobs(workflow.name).values())


def test_each_distribution_of_the_support_table_is_tried() -> None:
    row = re.search(r"^\| (.*) in `ros:` containers", (ROOT / "docs" / "support.md").read_text(), flags=re.M)
    assert row is not None
    matrix = jobs("ci.yml")["distribution"]["strategy"]["matrix"]["distro"]
    assert matrix == row.group(1).lower().split(", ")


@by_name
def test_files_of_the_package_that_are_named_exist(workflow: Path) -> None:
    text = workflow.read_text().replace("src/stride_ros/", "")
    named = re.findall(r"(?<![\w./-])((?:\.ci|docker|tools)/[\w./-]+)", text)
    named += [f"launch/{name}" for name in re.findall(r"ros2 launch stride_ros (\S+)", text)]
    assert named or workflow.stem == "docs"
    assert not [name for name in named if not (ROOT / name).exists()]
