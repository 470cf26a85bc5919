"""`stride_ros.benchmark.calls` counts the operators of two checkouts and times them in turns."""

import pytest

from stride_ros.benchmark import calls

pytestmark = pytest.mark.slow


def test_a_checkout_beside_itself_makes_the_same_calls(monkeypatch, capsys):
    turns = ["--models", "stride-tiny", "--frames", "8", "--rounds", "1", "--ticks", "2", "--by-name"]
    monkeypatch.setattr("sys.argv", ["calls", str(calls.ROOT), *turns])
    assert calls.main() == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| stride-tiny")]
    assert [(row[1], row[2]) for row in rows] == [
        ("fresh", "before"),
        ("fresh", "this"),
        ("steady", "before"),
        ("steady", "this"),
    ]
    assert {row[5] for row in rows} == {"1.00"}
    counts = [int(row[4].replace(",", "")) for row in rows]
    assert counts[0] == counts[1] > counts[2] == counts[3] > 0
    assert any(line.startswith("aten::mm ") for line in lines)
    assert lines[-1] == "Labels equal: yes."


def test_a_folder_that_is_no_checkout_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["calls", str(tmp_path)])
    with pytest.raises(SystemExit) as raised:
        calls.main()
    assert raised.value.code == 2
    assert f"{tmp_path} is not a checkout" in capsys.readouterr().err
