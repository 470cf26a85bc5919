"""Docstrings and comments have one form: code in single backticks, no reStructuredText roles."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# To be widened to the whole package.
FOREIGN = re.compile(r"``|:(?:param|type|returns?|rtype|raises|class|func|meth|mod)\b[^:\n]*:")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def prose(code: str) -> Iterator[tuple[int, str]]:
    """First line and text of each docstring and comment."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node, clean=False)) is not None:
            yield node.body[0].lineno, text
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def modules() -> list[Path]:
    package = ROOT / "stride_ros"
    return sorted([*package.rglob("*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("launch/*.py")])


def test_code_stands_in_single_backticks() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {FOREIGN.search(text).group()}"
        for path in modules()
        if FOREIGN.search(code := path.read_text())
        for line, text in prose(code)
        if FOREIGN.search(text)
    ]
    assert not found, "write `code` in single backticks, and plain sentences:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code", ['"""Turn ``x``."""', "x = 1  # as ``y``", 'def f():\n    """F.\n\n    :param x: y\n    """']
)
def test_another_form_is_found(code: str) -> None:
    assert any(FOREIGN.search(text) for _, text in prose(code))
