"""What docs/security.md says an attacker gets is what tests have tried."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## What each right is worth")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| right")
]
RIGHTS = {
    *(
        "publish images",
        "set parameters",
        "own the server",
        "write to `ROS_HOME`",
        "own the model's directory",
    ),
}


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_right_has_a_row() -> None:
    assert {row[0] for row in ROWS} >= RIGHTS


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_row_is_tried_by_tests_that_exist(row: list[str]) -> None:
    right, gets, stays_out, tests = row
    assert right
    assert gets
    assert stays_out
    names = re.findall(r"`([^`]+)::(test_\w+)`", tests)
    assert len(names) == tests.count("`") // 2 > 0
    for file, name in names:
        assert name in names_in(ROOT / file), f"{file} has no {name}"
