"""What people read is plain English: the phrases that CONTRIBUTING.md rules out do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Each row of the list in CONTRIBUTING.md, by its first cell.
RULED_OUT = {
    "is no file": r"(?<!there )(?<!There )\b(?:is|are) no (?!longer\b|more\b|need\b|better\b|\.)[a-z]",
    "in vain": r"\bin vain\b",
    "starts anew": r"\b(?:start|begin|began|begun|subscrib|connect)\w* anew\b",
    "at most behind its noun": r"\bat most(?:[.;:)]|,? (?:\(|which\b|and\b|of\b))",
    "so many seconds": r"\b(?:in|within|for|skip|play|after|of|to) so many [a-z]+s\b",
    "the likeliest": r"\blikeliest\b",
    "goes on behind": r"\bgoes? on behind\b",
}
READ = sorted(
    path
    for pattern in ("stride_ros/**/*.py", "docs/**/*.md", "*.md", "msg/*.msg", "srv/*.srv", "action/*.action")
    for path in ROOT.glob(pattern)
    if path.name != "CONTRIBUTING.md"  # which quotes them
)


def found(text: str) -> list[str]:
    """The phrases in a text, with what follows on the next line of a comment, a string or a page."""
    flat = re.sub(r'\s*"?\s*\n\s*(?:#\s*|f?")?', " ", text)
    return [match[0] for pattern in RULED_OUT.values() for match in re.finditer(pattern, flat)]


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_phrases_that_are_ruled_out_do_not_occur(path):
    assert found(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "data.bin is no file; remove it.",
        "Waited 600 s for the models in vain.",
        "the stream starts\n# anew",
        "frames of the context, 128 at most.",
        '"skip so many "\n    "seconds"',
        "takes the likeliest word",
        "it goes on behind its end",
    ],
)
def test_a_phrase_is_found_wherever_its_line_breaks(text):
    assert len(found(text)) == 1


def test_contributing_lists_each_of_them():
    rows = re.findall(r"^\| (.+?) \| .+ \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert set(RULED_OUT) <= set(rows)
