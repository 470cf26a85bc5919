"""The version is that of package.xml wherever it is written."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from stride_ros.cli import main

ROOT = Path(__file__).parents[2]
VERSION = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")


def test_the_citation_has_the_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert citation["preferred-citation"]["url"].rpartition("/")[2] in (ROOT / "README.md").read_text()


def test_the_command_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"stride-ros {VERSION}\n"


def test_the_newest_section_of_the_changelog_is_to_come_or_this_version() -> None:
    titles = re.findall(r"^(.+)\n-+$", (ROOT / "CHANGELOG.rst").read_text(), flags=re.MULTILINE)
    assert titles
    assert titles[0] == "Forthcoming" or titles[0].split()[0] == VERSION
