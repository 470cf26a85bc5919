"""Tables of docs/security.md and docs/servers.md say what is tried by which test: there are such tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Row = list[str]


def rows_of(page: str, title: str) -> list[Row]:
    """The cells of the first table whose first column has this title."""
    lines = (ROOT / page).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {title} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def names_in(path: Path) -> set[str]:
    """Its tests, and the cases of its tables, by their keys."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.Dict):
            keys = (key.value for key in node.keys if isinstance(key, ast.Constant))
            found |= {key for key in keys if isinstance(key, str)}
    return found


def names_of(row: Row) -> list[str]:
    """The tests and cases that its last cell names; it holds nothing else."""
    names = re.findall(r"`([^`]+)`", row[-1])
    assert names, row
    assert re.sub(r"`[^`]+`(, |$)", "", row[-1]) == ""
    return names


def ids(rows: list[Row]) -> list[str]:
    return [": ".join(row[:2])[:60] for row in rows]


RIGHTS = rows_of("docs/security.md", "right")
SERVERS = rows_of("docs/servers.md", "server")
FAMILIES = (
    *(
        "vLLM",
        "SGLang",
        "Ollama",
        "llama.cpp",
        "LM Studio",
        "TGI",
        "Azure",
        "OpenRouter",
        "Gemini's endpoint",
    ),
    "`transformers serve`",
)
CASES = names_in(ROOT / "test/response/test_server_families.py")
FAULTS = names_in(ROOT / "test/response/test_server_faults.py")


@pytest.mark.parametrize("row", RIGHTS + SERVERS, ids=ids(RIGHTS + SERVERS))
def test_every_cell_says_something(row: Row) -> None:
    assert len(row) == 4
    assert all(row)


@pytest.mark.parametrize(
    "right",
    [
        "publish images",
        "set parameters",
        "control the server",
        "write to `ROS_HOME`",
        "control the model's directory",
    ],
)
def test_every_right_has_a_row(right: str) -> None:
    assert right in [row[0] for row in RIGHTS]


@pytest.mark.parametrize("row", RIGHTS, ids=ids(RIGHTS))
def test_what_an_attacker_gets_is_tried(row: Row) -> None:
    for name in names_of(row):
        file, _, test = name.partition("::")
        assert test in names_in(ROOT / file), f"{file} has no {test}"


@pytest.mark.parametrize("row", SERVERS, ids=ids(SERVERS))
def test_what_a_server_sends_is_tried(row: Row) -> None:
    for name in names_of(row):
        assert name in (FAULTS if name.startswith("test_") else CASES), name


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_rows(family: str) -> None:
    assert family in [row[0] for row in SERVERS]


def test_each_case_of_a_family_has_a_row() -> None:
    families = tuple(family.strip("`") for family in FAMILIES)
    named = {name for row in SERVERS for name in names_of(row)}
    assert {case for case in CASES if case.startswith(families)} <= named
