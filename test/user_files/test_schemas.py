"""The published schemas: they allow what is written and what is read, and refuse what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from stride_ros.errors import ConfigError
from stride_ros.runs.expectations import (
    Expectations,
    ExpectedSpan,
    Quiet,
    read_expectations,
    write_expectations,
)
from stride_ros.runs.judging import add_to
from stride_ros.runs.record import Expected, QueryRun, Run, Said, Span
from stride_ros.sources.world_bag import write_labels
from stride_ros.training.sources.labels import labelled_recordings
from stride_ros.training.sources.recording import Intake
from stride_ros.user_files.yaml_file import parse_yaml, plain, read_yaml
from stride_ros.world.world import World

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def faults(name, document):
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


@pytest.fixture
def run():
    spans = [
        Span(1, 1.0, 5.0, 2.0, 0.9, "offset", latency=0.1, said=Said("It fell.", "a model", latency=1.0)),
        Span(2, 7.0, 9.0, 8.0, 0.8, "retracted"),
    ]
    cup = QueryRun("Tell me when a cup falls.", spans=spans, expected=[Expected(1.0, 4.0, "It fell.")])
    return Run("a bag", 60.0, [cup, QueryRun("Tell me when it rains.")], notes=["It is short."])


@pytest.mark.parametrize("latencies", [True, False])
def test_a_run_is_written_as_published(run, latencies):
    assert faults("run", json.loads(run.to_json(latencies=latencies))) == []


def test_a_run_that_was_judged_is_written_as_published(run):
    cup, rain = (query.query for query in run.queries)
    spans = [ExpectedSpan(cup, 1.0, 4.0), ExpectedSpan(cup, 30.0, 40.0)]
    add_to(run, Expectations(spans, [Quiet(rain, 0.0, 60.0)]))
    document = json.loads(run.to_json(latencies=False))
    assert {line["verdict"] for line in document["verdict"]["lines"]} == {"found", "missed", "false alarm"}
    assert faults("run", document) == []


def test_ground_truth_is_written_as_published(run, tmp_path):
    write_expectations(run, tmp_path / "x.yaml")
    assert faults("expectations", plain(read_yaml(tmp_path / "x.yaml"))) == []


def test_the_worlds_labels_are_written_as_published(tmp_path):
    write_labels(World(seed=1, seconds=30.0), tmp_path / "x.yaml")
    document = plain(read_yaml(tmp_path / "x.yaml"))
    assert document
    assert faults("labels", document) == []
    assert faults("expectations", document) == []


@pytest.mark.parametrize(
    "item",
    [
        "{query: a, start: 1, end: 2, text: null, tolerance: 0}",
        "{query: a, none: [0, 60]}",
        "{query: ' ', start: 1, end: 2}",
        "{query: 5, start: 1, end: 2}",
        "{query: a, start: 1}",
        "{query: a, start: 1, end: 2, text: [b]}",
        "{query: a, start: 1, end: 1e13}",
        "{query: a, start: 2026-11-27, end: 2}",
        "{query: a, start: 1, end: 2, tolerance: -1}",
        "{query: a, start: 1, stop: 2}",
        "{query: a, none: [0]}",
        "{query: a, none: [0, x]}",
        "{query: a, none: [0, 5], text: b}",
        "{thresholds: {recall: 2}}",
        "{thresholds: {speed: 1}}",
        "{thresholds: {}}",
        "5",
    ],
)
def test_ground_truth_is_read_as_published(tmp_path, item):
    text = f"- {{query: first, start: 1, end: 2}}\n- {item}\n"
    (tmp_path / "x.yaml").write_text(text)
    try:
        read_expectations(tmp_path / "x.yaml")
        refused = False
    except ConfigError:
        refused = True
    assert bool(faults("expectations", plain(parse_yaml(text, "x.yaml")))) == refused


@pytest.mark.parametrize(
    "item",
    [
        "{query: a, start: 1, end: 2, text: null, tolerance: 0}",
        "{query: a, none: [0, 60]}",
        "{thresholds: {recall: 0.9}}",
        "{query: ' ', start: 1, end: 2}",
        "{query: a, start: 1}",
        "{query: a, start: 1, end: 2, text: [b]}",
        "{query: a, start: 1, stop: 2}",
        "{query: a, none: [0, 5], text: b}",
        "5",
    ],
)
def test_labels_are_read_as_published(tmp_path, item):
    text = f"- {{query: first, start: 1, end: 2}}\n- {item}\n"
    (tmp_path / "x.yaml").write_text(text)
    told = []
    video = SimpleNamespace(name="a video", start=0.0, end=60.0)
    labelled_recordings(video, tmp_path / "x.yaml", Intake(told.append))
    assert bool(faults("labels", plain(parse_yaml(text, "x.yaml")))) == bool(told)
