"""Training needs a newer NumPy than the rest, which Ubuntu 22.04's apt does not have."""

from __future__ import annotations

from stride_ros.cli import main


def test_a_numpy_too_old_for_training_is_refused_in_a_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("numpy.__version__", "1.21.5")
    assert main(["train", "--data", "world", "--model", "stride-tiny", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip()
    assert "training needs NumPy 1.24 or newer and this is 1.21.5" in said
    assert "pip install 'numpy>=1.24,<2'" in said
    assert "\n" not in said
