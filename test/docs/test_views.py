"""The Foxglove layout and the RViz configuration open on topics and fields that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stride_ros.text import topics

ROOT = Path(__file__).parents[2]
LAYOUT = json.loads((ROOT / "config" / "views" / "foxglove.json").read_text())
RVIZ = yaml.safe_load((ROOT / "config" / "views" / "stride.rviz").read_text())
PANELS: dict[str, dict[str, Any]] = LAYOUT["configById"]


def full(topic: str) -> str:
    return topics.under(topics.NAMESPACE, topic)


TYPES = {
    full(topics.FRAMES): "Image",
    full(topics.PICTURE): "Image",
    topics.CAMERA: "Image",
    full(topics.SPAN): "ActivationSpan",
    full(topics.WINDOW): "ActivationWindow",
    full(topics.COMMENTARY): "Commentary",
    topics.DIAGNOSTICS: "DiagnosticArray",
}
NUMBERS = r"(u?int\d+|float\d+)"
SHOWN_BY = {"Plot": NUMBERS, "StateTransitions": r"(u?int8|string)", "RawMessages": r"\S+"}


def fields(message: str) -> dict[str, str]:
    """The type of each field, as the definition writes it."""
    text = (ROOT / "msg" / f"{message}.msg").read_text()
    return {name: kind for kind, name in re.findall(r"^([a-z]\S+) +(\w+)(?![\w=])", text, flags=re.MULTILINE)}


def paths() -> Iterator[tuple[str, str]]:
    """(kind of panel, path of a message) of each panel that shows fields."""
    for name, panel in PANELS.items():
        kind = name.partition("!")[0]
        yield from ((kind, path["value"]) for path in panel.get("paths", ()))
        if "topicPath" in panel:
            yield kind, panel["topicPath"]


def panels_of(layout: Any) -> list[str]:
    if isinstance(layout, str):
        return [layout]
    assert layout["direction"] in ("row", "column")
    return panels_of(layout["first"]) + panels_of(layout["second"])


def test_each_panel_is_placed_once() -> None:
    assert sorted(panels_of(LAYOUT["layout"])) == sorted(PANELS)


@pytest.mark.parametrize(("kind", "path"), list(paths()))
def test_a_panel_shows_a_field_that_the_message_has(kind: str, path: str) -> None:
    topic, _, field = path.partition(".")
    name, _, index = field.partition("[")
    assert topic in TYPES
    if field:
        of = fields(TYPES[topic])[name]
        assert of.endswith("[]") == bool(index)
        assert re.fullmatch(SHOWN_BY[kind], of.removesuffix("[]"))
    else:
        assert kind == "RawMessages"


def test_image_and_diagnostic_panels_show_such_topics() -> None:
    images = [panel["imageMode"]["imageTopic"] for name, panel in PANELS.items() if name.startswith("Image!")]
    assert images
    assert {TYPES[topic] for topic in images} == {"Image"}
    assert [panel["topicToRender"] for panel in PANELS.values() if "topicToRender" in panel] == [
        topics.DIAGNOSTICS
    ]


def test_rviz_shows_images_as_they_are_offered() -> None:
    displays = RVIZ["Visualization Manager"]["Displays"]
    shown = {display["Topic"]["Value"]: display["Topic"]["Reliability Policy"] for display in displays}
    assert {TYPES[topic] for topic in shown} == {"Image"}
    assert shown[topics.CAMERA] == "Best Effort"  # which every publisher can serve


def test_what_a_replay_writes_is_among_what_the_layout_shows() -> None:
    shown = {path.partition(".")[0] for _, path in paths()}
    shown |= {panel["imageMode"]["imageTopic"] for panel in PANELS.values() if "imageMode" in panel}
    assert {full(name) for name in topics.RESULTS} <= shown
