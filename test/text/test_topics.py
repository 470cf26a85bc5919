"""Every topic's name is written once, in `stride_ros.text.topics`, and the README lists them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stride_ros.text import topics

ROOT = Path(__file__).parents[2]
NAMES = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
# What takes a topic's name.
TAKE_NAMES = {
    "_publisher",
    "count_publishers",
    "create_publisher",
    "create_subscription",
    "resolve_topic_name",
}


# These still spell names.
def spelled(code: str) -> Iterator[tuple[int, str]]:
    """Line and text of each literal that is a topic's name: full ones anywhere, short ones given to rclpy."""
    full = {name for name in NAMES if "/" in name}
    full |= {topics.under(topics.NAMESPACE, name) for name in NAMES}
    if not any(word in code for word in full | TAKE_NAMES):
        return
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and node.value in full:
            yield node.lineno, node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in TAKE_NAMES:
            for given in node.args:
                if isinstance(given, ast.Constant) and given.value in NAMES - full:
                    yield given.lineno, given.value


def sources() -> dict[str, str]:
    """The code of each other module and launch file by its path."""
    files = [*ROOT.glob("stride_ros/**/*.py"), *ROOT.glob("launch/*.py")]
    named = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(files)}
    del named["stride_ros/text/topics.py"]
    return named


def test_no_other_module_spells_a_name() -> None:
    found = [f"{path}:{line}: {name!r}" for path, code in sources().items() for line, name in spelled(code)]
    assert not found, "take the name from stride_ros.text.topics:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "node.create_publisher(Image, 'frames', QOS)",
        "TOPIC = '/stride/activation/span'",
        "x('activation/window')",
    ],
)
def test_a_spelled_name_is_found(code: str) -> None:
    assert list(spelled(code))


def test_words_that_happen_to_be_names_are_left_alone() -> None:
    assert not list(spelled("report = {'frames': 3, 'query': QUERY}"))


def test_the_page_of_the_graph_lists_every_topic() -> None:
    page = (ROOT / "docs" / "graph.md").read_text()
    recorded = {topics.NAMESPACE, topics.CAMERA, topics.GROUND_TRUTH_COMMENTARY, topics.EVENT_PICTURE}
    missing = [name for name in sorted(NAMES - recorded) if f"`{name}`" not in page]
    assert not missing


@pytest.mark.parametrize(
    ("namespace", "topic", "full"),
    [
        ("/stride", "frames", "/stride/frames"),
        ("a/b/", "activation/span", "/a/b/activation/span"),
        ("/", "frames", "/frames"),
        ("", "frames", "/frames"),
        ("/stride", "/diagnostics", "/diagnostics"),
    ],
)
def test_a_relative_name_stands_under_its_namespace(namespace: str, topic: str, full: str) -> None:
    assert topics.under(namespace, topic) == full
