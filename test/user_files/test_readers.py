"""Each kind of file that users give: whatever is in it, there is a sentence and exit code 2, or use."""

import json

import pytest

from stride_ros.cli import main
from stride_ros.errors import ConfigError, StrideError
from stride_ros.parameters.tuning import read_tuning
from stride_ros.runs.difference import differences, read_run
from stride_ros.runs.expectations import read_expectations
from stride_ros.runs.judging import add_to, judge
from stride_ros.runs.record import QueryRun, Run, Said, Span
from stride_ros.training.sources.labels import labelled_recordings
from stride_ros.training.sources.recording import Intake

CUP = "Tell me when a cup falls."


class Minute:
    """What labels need of a video."""

    name, start, end = "a minute", 0.0, 60.0

    def read(self, times):
        raise AssertionError("labels are checked without pictures")


WRONG_ITEMS = [
    ("start: 2026-13-45, end: 10", "time|numbers"),
    ("start: 2026-11-27 10:00:00, end: 10", "time|numbers"),
    ("start: 0, end: .inf", "time|numbers"),
    ("start: 0, end: .nan", "time|numbers"),
    ("start: 0, end: 1e999", "time|numbers"),
    ("start: 0, end: 1e300", "time|numbers"),
    (f"start: 0, end: {'9' * 400}", "not a number"),
    ("start: [1], end: 10", "time|numbers"),
    ("start: {a: 1}, end: 10", "time|numbers"),
    ("start: yes, end: 10", "time|numbers"),
    ("start: !!int zz, end: 10", "not a number"),
    ("start: !mine 1, end: 10", "tag !mine"),
    ("start: 1, start: 2, end: 10", "start is given twice"),
    ("start: 1, end: 10, text: [a]", "text is a list and not text"),
    ("start: 1, end: 10, text: {a: b}", "text is a mapping and not text"),
    ("start: 1, end: 10, text: 5", "text is 5 and not text"),
    ("start: 1, end: 10, text: no", "text is False and not text"),
    ('start: 1, end: 10, text: "a\\e[31m"', r"text has the control character U\+001B"),
    (f"start: 1, end: 10, text: {'x' * 10_001}", "text has 10,001 characters"),
    ("start: 1, end: 10, [a]: 5", "key that is not text"),
]


@pytest.mark.parametrize(("fields", "said"), WRONG_ITEMS)
def test_a_wrong_item_is_refused_or_left_out_with_its_line(tmp_path, fields, said):
    file = tmp_path / "x.yaml"
    file.write_text(f"- {{query: {CUP}, start: 1, end: 10}}\n\n- {{query: {CUP}, {fields}}}\n")
    with pytest.raises(ConfigError, match=f"^Item 2 of {file}, line 3: .*({said})"):
        read_expectations(file)
    told = []
    (recording,) = labelled_recordings(Minute(), file, Intake(told.append))
    assert len(recording.events) == 1
    (line,) = told
    assert line.startswith(f"{file}:3 is left out: ")
    assert len(line) < 300 + len(str(file))


@pytest.mark.parametrize(
    "query", ["[a]", "{a: b}", "5", "2.5", "yes", "''", "'  '", "~", '"a\\0"', "x" * 10_001]
)
def test_a_query_is_text(tmp_path, query):
    file = tmp_path / "x.yaml"
    file.write_text(f"- {{query: {query}, start: 1, end: 10}}\n")
    with pytest.raises(ConfigError, match=r"line 1: .*query"):
        read_expectations(file)
    told = []
    with pytest.raises(StrideError, match="no usable label"):
        labelled_recordings(Minute(), file, Intake(told.append))
    assert "query" in told[0].partition(": ")[2]


def test_a_date_may_stand_in_a_text(tmp_path):
    (tmp_path / "x.yaml").write_text(f"- {{query: {CUP}, start: 1, end: 10, text: 2026-11-27}}\n")
    assert read_expectations(tmp_path / "x.yaml").spans[0].text == "2026-11-27"


def test_labels_may_be_json(tmp_path):
    items = [{"query": CUP, "start": 1e-05, "end": 2.0, "text": None}]
    (tmp_path / "x.yaml").write_text(json.dumps(items, indent=1))
    assert read_expectations(tmp_path / "x.yaml").spans[0].start == 1e-5


@pytest.mark.parametrize(
    "other",
    ["tell me when a cup falls.", "Tell me when a cup falls", " Tell  me when a cup\\nfalls. ", CUP.upper()],
)
def test_two_spellings_of_a_query_are_one_and_told(tmp_path, other):
    (tmp_path / "x.yaml").write_text(
        f'- {{query: "{CUP}", start: 1, end: 10}}\n- {{query: "{other}", start: 20, end: 30}}\n'
    )
    told = []
    (recording,) = labelled_recordings(Minute(), tmp_path / "x.yaml", Intake(told.append))
    assert recording.queries == (CUP,)
    assert [event.start for event in recording.events] == [1.0, 20.0]
    (line,) = told
    assert f"x.yaml:2 is taken as another spelling of the query '{CUP}'" in line


def test_other_queries_stay_apart(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "- {query: Is the cup red?, start: 1, end: 10}\n- {query: Is the cup read?, start: 20, end: 30}\n"
    )
    told = []
    assert len(labelled_recordings(Minute(), tmp_path / "x.yaml", Intake(told.append))) == 2
    assert told == []


@pytest.fixture
def run():
    """A run with all there can be in its JSON."""
    span = Span(1, 1.0, 5.0, 2.0, 0.9, "offset", said=Said("It fell.", "a model"))
    return Run("a \udce4 bag", 60.0, [QueryRun(CUP, spans=[span, Span(2, 7.0, 9.0, 8.0, 0.8)])])


def test_a_run_that_was_written_is_read(tmp_path, run):
    run.write_json(tmp_path / "run.json", latencies=True)
    document = read_run(tmp_path / "run.json")
    assert list(differences(document, document)) == []
    assert document["source"]["name"] == r"a \udce4 bag"  # as it can be printed


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("queries",), None, "queries is None and not a list"),
        (("queries",), {"a": 1}, "queries is a mapping and not a list"),
        (("source",), [], "source is a list and not an object"),
        (("settings",), "x", "settings is 'x' and not an object"),
        (("queries", 0), 5, r"queries\[0\] is 5 and not an object"),
        (("queries", 0, "query"), ["a"], r"queries\[0\]\.query is a list and not text"),
        (("queries", 0, "spans"), {}, r"queries\[0\]\.spans is a mapping and not a list"),
        (
            ("queries", 0, "spans", 1, "start"),
            "a",
            r"queries\[0\]\.spans\[1\]\.start is 'a' and not a number",
        ),
        (("queries", 0, "spans", 1, "end"), True, r"end is True and not a number"),
        (("queries", 0, "spans", 1, "onset"), 1e300, r"onset is 1e\+300 and not a number"),
        (("queries", 0, "spans", 1, "state"), 1, "state is 1 and not text"),
        (("queries", 0, "spans", 0, "commentary"), 3, "commentary is 3 and not an object"),
        (("queries", 0, "spans", 0, "commentary"), {}, "commentary lacks text"),
        (("queries", 0, "spans", 0, "commentary", "text"), [["x"]], "text is a list and not text"),
    ],
)
def test_what_is_no_run_is_told_with_its_line(tmp_path, run, capsys, path, value, said):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    run.write_json(good, latencies=False)
    document = json.loads(good.read_text())
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    bad.write_text(json.dumps(document, indent=1))
    with pytest.raises(ConfigError, match=f"bad.json is not a run: at line \\d+, .*{said}") as caught:
        read_run(bad)
    line = bad.read_text().split("\n")[int(str(caught.value).partition("at line ")[2].partition(",")[0]) - 1]
    assert str(value) in line if path[-1] == 0 else str(path[-1]) in line
    assert main(["replay", "--diff", str(good), str(bad)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_with_a_query_twice_is_refused(tmp_path, run):
    run.queries.append(QueryRun(CUP))
    run.write_json(tmp_path / "run.json", latencies=False)
    with pytest.raises(ConfigError, match="the same query twice, again at line"):
        read_run(tmp_path / "run.json")


HOSTILE = [
    b"- " * 9000,
    b"[" * 9000,
    b"{a: " * 9000,
    b"- &a [*a]",
    b"- 2026-13-45",
    b"- {query: 2026-13-45, start: 2026-13-45, end: 2026-13-45}",
    b"- !!timestamp x",
    b"- !!python/name:os.system ''",
    "- {query: Tür, start: 1, end: 2}".encode("latin-1"),
    "- {query: Tür, start: 1, end: 2}".encode("utf-16"),
    b"\0" * 1000,
    b"{schema: stride_ros/run/1}",
    b"/**: {ros__parameters: {rate: 2026-13-45, max_gap: &a [*a]}}",
    b"/**: {ros__parameters: {max_gap: !!int zz}}",
    b"/**: {ros__parameters: {max_gap: 2026-13-45}}",
    b"/**: {ros__parameters: {? [a] : 2}}",
    b"",
]


@pytest.mark.parametrize("content", HOSTILE)
def test_every_reader_ends_in_a_sentence(tmp_path, content, capsys, run):
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    for read in (
        read_expectations,
        read_run,
        read_tuning,
        lambda path: labelled_recordings(Minute(), path, Intake(lambda _: None)),
    ):
        with pytest.raises(StrideError) as caught:
            read(file)
        assert "\n" not in str(caught.value)
        assert str(file) in str(caught.value) or "max_gap" in str(caught.value)
    for arguments in (["--diff", str(file), str(file)], ["bag", "--expect", str(file)]):
        assert main(["replay", *arguments]) == 2
        assert "x.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", ["2026-13-45", "[" * 9000, "&a [*a]", "!!int zz", "9" * 5000, "\x1b[0m", "\udcff"]
)
def test_a_value_of_the_command_line_is_read_in_the_same_way(value):
    with pytest.raises(ConfigError) as caught:
        read_tuning(None, [f"max_gap={value}"])
    assert len(str(caught.value)) < 500


def test_sections_of_other_nodes_may_hold_what_they_like(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "controller: {ros__parameters: {a: .inf, b: !mine x, c: 2026-13-45, d: 9999999999999999999}}\n"
        "/front/activation: {ros__parameters: {max_gap: 2e0}}\n"
    )
    assert read_tuning(tmp_path / "x.yaml").given == {"max_gap": 2.0}


def test_what_is_read_can_be_judged_and_reported(tmp_path, run):
    from stride_ros.runs.report import report_html

    (tmp_path / "x.yaml").write_text(
        f"- {{query: {CUP}, start: -1e12, end: 1e11}}\n- {{query: {CUP}, none: [1e11, 1e12]}}\n"
    )
    wanted = read_expectations(tmp_path / "x.yaml")
    run.name = "a bag"
    assert judge(run, wanted).table()
    add_to(run, wanted)
    assert report_html(run)
