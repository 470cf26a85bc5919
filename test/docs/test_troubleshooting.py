"""What docs/troubleshooting.md quotes is said by the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
ROWS = re.findall(r"^\| (?!what you see)([^|]+) \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
# Of others: Hugging Face and NumPy.
OF_OTHERS = {"gated", "A module that was compiled using NumPy 1.x cannot be run in NumPy 2"}


def sentences() -> Iterator[str]:
    """Every text in the code, with a placeholder where a value comes."""
    for folder in ("stride_ros", "tools", "examples", "launch"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        part.value if isinstance(part, ast.Constant) else "\0" for part in node.values
                    )


SAID = list(sentences())


def quotes() -> list[str]:
    return [quote for seen, _ in ROWS for quote in re.findall(r'"([^"]+)"', seen) if quote not in OF_OTHERS]


@pytest.mark.parametrize("quote", quotes())
def test_a_quoted_message_is_one_of_ours(quote: str) -> None:
    parts = [part.strip(" '.") for part in quote.split("...") if part.strip(" '.")]
    assert any(all(part in sentence for part in parts) for sentence in SAID), quote


def test_every_line_has_a_cause_and_a_remedy() -> None:
    assert len(ROWS) == PAGE.count("\n| ") - PAGE.count("\n| what you see")
    assert all(len(remedy) > 30 for _, remedy in ROWS)
