"""Files that are damaged anyhow: every reader uses them or ends in one sentence."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stride_ros.errors import StrideError
from stride_ros.parameters.tuning import read_tuning
from stride_ros.runs.difference import differences, read_run
from stride_ros.runs.expectations import read_expectations
from stride_ros.runs.judging import add_to, judge
from stride_ros.runs.record import QueryRun, Run, Said, Span
from stride_ros.training.sources.labels import labelled_recordings
from stride_ros.training.sources.recording import Intake

CUP = "Tell me when a cup falls."
RUN = Run("bag", 60.0, [QueryRun(CUP, spans=[Span(1, 1.0, 5.0, 2.0, 0.9, said=Said("It fell.", "m"))])])
WHOLE = (
    f'- {{query: "{CUP}", start: 1.5, end: 10, text: hi}}\n- {{query: &a q, none: [0, 6]}}\n'
    "- query: *a\n  start: 1:30\n  end: 2e2\n- thresholds: {recall: 1.0, iou: 0.5}\n",
    RUN.to_json(latencies=True),
    "/**:\n  ros__parameters: {rate: 2.0, trigger: {min_confidence: 0.6}}\n"
    '/front/activation:\n  ros__parameters:\n    max_gap: 1.5\n    queries: ["a", b]\n',
)
PIECES = (
    *"[{}]\n\t\"'|>#!?_-=:,\r\x00\x85\u2028",
    *(
        "&a ",
        "*a",
        "!!int ",
        "!!float ",
        "!!bool ",
        "!!null ",
        "!!str ",
        "!!set ",
        "!!timestamp ",
        "!x ",
        "!<",
    ),
    *("- ", ": ", "? ", "<<: ", "---\n", "%TAG ! x\n", "\\ud83d", "\\U00110000", "\ufeff"),
    *("2026-13-45", ".nan", ".inf", "NaN", "1e999", "9" * 400, "0x", "0b", "1:", "null", "true", "[" * 70),
)


class Minute:
    name, start, end = "a minute", 0.0, 60.0


def expect(file):
    wanted = read_expectations(file)
    judge(RUN, wanted).table()
    add_to(RUN, wanted)


def compare(file):
    run = read_run(file)
    list(differences(run, run))


READERS = (
    expect,
    compare,
    lambda file: labelled_recordings(Minute(), file, Intake(lambda _: None)),
    lambda file: read_tuning(file).config,
)


@st.composite
def damaged(draw):
    data = draw(st.sampled_from(WHOLE)).encode()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.one_of(st.sampled_from(PIECES).map(str.encode), st.binary(max_size=3)))
        data = data[:at] + new + data[at + draw(st.integers(0, 8)) :]
    return data


@pytest.mark.parametrize("read", READERS, ids=["expect", "diff", "labels", "parameters"])
@pytest.mark.parametrize("parser", ["libyaml", "python"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=damaged())
def test_a_damaged_file_ends_in_a_sentence(tmp_path_factory, read, parser, data):
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_bytes(data)
    said = ""
    with pytest.MonkeyPatch.context() as patch:
        if parser == "python":
            patch.delattr(yaml, "CSafeLoader", raising=False)
        try:
            read(file)
        except StrideError as error:
            said = str(error)
    assert "\n" not in said
    assert len(said) < 1000
