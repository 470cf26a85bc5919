"""What the pages name is there: links between pages, their headings, and files of the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/[\w.-]+\.(?:py|md|msg|srv|action|yaml|json|toml|xml))`")
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
# Files that a page tells the reader to make, and the frame path's that are still to come.
ABSENT = {
    *("stride_ros/response/my_backend.py", "stride_ros/sources/my_source.py"),
}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    named = set(FILE.findall(page.read_text())) - ABSENT
    folders = (ROOT, ROOT / "stride_ros", ROOT / "docs", page.parent)
    assert not [name for name in sorted(named) if not any((folder / name).exists() for folder in folders)]
