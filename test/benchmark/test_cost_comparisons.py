"""Benchmarks that set the engine beside other ways to work, and what they count."""

import sys

import pytest

from stride_ros.benchmark import asking, drop_frames, published
from stride_ros.benchmark.work import counted_flop

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="torch is not installed")


def run(monkeypatch, program, *options):
    monkeypatch.setattr(sys, "argv", ["benchmark", *options])
    program.main()


def rows(text):
    """Cells of a printed table, without its heading."""
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]


def test_asking_is_set_beside_the_engine(monkeypatch, capsys):
    run(monkeypatch, asking, "--frames", "8", "--resent", "2", "8", "--seconds", "2", "--rounds", "1")
    found = rows(capsys.readouterr().out)
    assert [row[0].strip("| ") for row in found] == [
        "the engine",
        "asking about the newest frame",
        "re-sending the last 2 frames",
        "re-sending the last 8 frames",
    ]
    assert all(float(row[1]) > 0 for row in found)
    assert found[0][2].startswith("1.00")


def test_each_number_of_frames_that_leave_has_its_cost(monkeypatch, capsys):
    options = (
        "--models",
        "stride-tiny",
        "--frames",
        "16",
        "--drops",
        "4",
        "8",
        "--ticks",
        "2",
        "--rounds",
        "1",
    )
    run(monkeypatch, drop_frames, *options)
    found = rows(capsys.readouterr().out)
    assert [(row[1], row[2]) for row in found] == [("4", "2.50"), ("8", "1.50")]
    assert float(found[0][5].strip(" |")) > float(found[1][5].strip(" |"))  # memory


def test_a_folder_that_is_not_the_authors_code_is_refused(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, published, str(tmp_path), "live")
    assert stopped.value.code == 2
    assert "is no checkout of the authors' code; clone https://" in capsys.readouterr().err


def test_products_and_attention_are_counted():
    q, k = torch.randn(1, 2, 64, 32), torch.randn(1, 2, 64, 32)
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode(), counted_flop() as flop:
        torch.randn(10, 20) @ torch.randn(20, 30)
        assert flop() == 2 * 10 * 20 * 30
        attention(q, k, k)
        assert flop() - 2 * 10 * 20 * 30 == 4 * 2 * 64 * 64 * 32
        before = flop()
        attention(q, k, k, is_causal=True)
        assert flop() - before == 4 * 2 * 64 * 64 * 32 / 2
