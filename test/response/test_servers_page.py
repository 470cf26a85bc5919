"""Each row of docs/servers.md is a case that is tried, and each case of a family has a row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/servers.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| server |")
]
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


def names_in(file: str) -> set[str]:
    """The cases of its tables, by their keys, and its tests."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "test/response" / file).read_text())):
        if isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


CASES = names_in("test_server_families.py")
TESTS = names_in("test_server_faults.py")


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_each_row_is_tried(row: list[str]) -> None:
    server, sends, becomes, tried = row
    assert server
    assert sends
    assert becomes
    names = re.findall(r"`(.+?)`(?:, |$)", tried)
    assert names
    for name in names:
        assert name in (TESTS if name.startswith("test_") else CASES), name


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_rows(family: str) -> None:
    assert any(row[0] == family for row in ROWS)


def test_each_case_of_a_family_has_a_row() -> None:
    families = tuple(family.strip("`") for family in FAMILIES)
    cases = {case for case in CASES if isinstance(case, str) and case.startswith(families)}
    assert not {case for case in cases if f"`{case}`" not in PAGE}
