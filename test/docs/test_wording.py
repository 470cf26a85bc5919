"""What people read is plain English: the phrases that CONTRIBUTING.md rules out do not occur."""

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
# Those that only pages and message definitions have to do without.
RULED_OUT_IN_PAGES = {
    "is told": r"(?<!you )(?<!You )\b(?:is|are|was|were) told\b",
    "tried again": r"\btried again\b",
    "beside": r"(?<!mcap with JSON )\bbeside\b",
    "goes on": r"\b(?:goes|went) on\b",
    "what there is": r"\b(?:what|which) there (?:is|are)\b",
    "one that is there": r"\bthat (?:is|are|was|were) there(?: already)?\b(?! (?:at|for|to|in|on)\b)",
    "a topic of its own": r"\ban? (?:\w+ ){1,2}of (?:its|their|your|our) own\b",
    "gives back": r"\bgiv(?:e|es|en|ing) (?:\w+ )?back\b",
    "one a node": r"\bone an? (?:node|worker|camera|query|stream|row|file)\b",
    "who sends": r"(?<=[.:;] )[Ww]ho (?:only|may|can|sends|wants|joins)\b|\b[Ww]hoever\b",
    "stands in": r"\bstands? (?:in|under|before|behind|around|beside) (?:the|its|their)\b",
    "behind its end": r"\bbehind (?:its|the) end\b",
    "all the same": r"\ball the same\b",
    "mends": r"\bmend(?:s|ed|ing)?\b",
}
READ = sorted(
    path
    for pattern in ("stride_ros/**/*.py", "docs/**/*.md", "*.md", "msg/*.msg", "srv/*.srv", "action/*.action")
    for path in ROOT.glob(pattern)
    if path.name != "CONTRIBUTING.md"  # which quotes them
)


def found(text: str, is_page: bool = True) -> list[str]:
    """The phrases in a text, with what follows on the next line of a comment, a string or a page."""
    flat = re.sub(r'\s*"?\s*\n\s*(?:#\s*|f?")?', " ", text)
    patterns = RULED_OUT | RULED_OUT_IN_PAGES if is_page else RULED_OUT
    return [match[0] for pattern in patterns.values() for match in re.finditer(pattern, flat)]


def page(path: Path) -> str:
    """The text of a page without what is generated from docstrings."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"<!-- layers -->.*?<!-- end of layers -->", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_phrases_that_are_ruled_out_do_not_occur(path):
    assert found(page(path), is_page=path.suffix != ".py") == []


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
    assert len(found(text, is_page=False)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "the reason is told in the log",
        "the request is tried\nagain",
        "written beside the recording",
        "the stream goes on",
        "a list of what there is",
        "it replaces the one that is there.",
        "give each a topic of its own",
        "it gives memory back",
        "executors, one a node",
        "Two ways. Who only wants messages",
        "the value stands in the\n# file",
        "bytes behind its end",
        "a model may follow them all the same",
        "reindex mends it",
    ],
)
def test_a_phrase_is_found_in_a_page(text):
    assert len(found(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "what you want to be told about, and you are told once",
        "an event is going on; the robot may go on",
        "a person who is there at the start",
        "people who can read it",
    ],
)
def test_a_usual_phrase_is_not_found(text):
    assert found(text) == []


def test_contributing_lists_each_of_them():
    rows = re.findall(r"^\| (.+?) \| .+ \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert set(RULED_OUT | RULED_OUT_IN_PAGES) <= set(rows)
