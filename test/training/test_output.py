"""What a training run leaves behind when it diverges, is killed, or the disk is full."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stride_ros.cli import main
from stride_ros.errors import CheckpointError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from safetensors.torch import load_file  # noqa: E402

from stride_ros.training.output import checkpoints, torn_checkpoints, writing  # noqa: E402

QUICK = [
    *("--data", "world", "--clips", "1", "--steps", "4", "--save-steps", "2", "--batch-size", "1"),
    *("--max-frames", "4", "--warmup-steps", "1", "--frame-max-tokens", "6", "--no-sentences"),
]


def run(start: Path, out: Path, *more: str) -> int:
    return main(["train", "--model", str(start), "--out", str(out), *QUICK, *more])


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, tmp_path_factory) -> Path:
    """A run of four steps with checkpoints after two and four."""
    out = tmp_path_factory.mktemp("trained") / "out"
    assert run(tiny_checkpoint, out, "--learning-rate", "1e-3") == 0
    return out


@pytest.fixture
def stopped(trained, tmp_path) -> Path:
    """The same, that can be changed."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_that_diverges_writes_no_weights_and_ends_with_2(tiny_checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(tiny_checkpoint, out, "--learning-rate", "1e30", "--save-steps", "1") == 2
    said = capsys.readouterr().err
    assert "Training diverged at step" in said
    assert "Lower --learning-rate" in said
    for file in out.rglob("*.safetensors"):
        assert all(bool(torch.isfinite(value.float()).all()) for value in load_file(file).values()), file


def test_weights_of_an_earlier_run_stay_when_a_later_one_diverges(tiny_checkpoint, stopped, capsys):
    before = (stopped / "model.safetensors").read_bytes()
    assert run(tiny_checkpoint, stopped, "--learning-rate", "1e30", "--no-resume") == 2
    assert (stopped / "model.safetensors").read_bytes() == before


def tear_weights(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def tear_optimizer(checkpoint: Path) -> None:
    file = checkpoint / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-100])


def lose_state(checkpoint: Path) -> None:
    (checkpoint / "trainer_state.json").unlink()


def tear_state(checkpoint: Path) -> None:
    (checkpoint / "trainer_state.json").write_text('{"epoch": ')


@pytest.mark.parametrize("tear", [tear_weights, tear_optimizer, lose_state, tear_state])
def test_a_run_goes_on_from_the_newest_whole_checkpoint(tiny_checkpoint, trained, stopped, capsys, tear):
    (stopped / "model.safetensors").unlink()
    tear(stopped / "checkpoint-4")
    assert [path.name for path in checkpoints(stopped)] == ["checkpoint-2"]
    assert [path.name for path in torn_checkpoints(stopped)] == ["checkpoint-4"]
    assert run(tiny_checkpoint, stopped, "--learning-rate", "1e-3") == 0
    assert "checkpoint-4 is incomplete and is ignored" in capsys.readouterr().out
    assert (stopped / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_checkpoints_are_counted_as_numbers(stopped):
    (stopped / "checkpoint-4").rename(stopped / "checkpoint-10")
    assert [path.name for path in checkpoints(stopped)] == ["checkpoint-10", "checkpoint-2"]


def test_a_run_does_not_go_on_with_other_data(tiny_checkpoint, stopped, capsys):
    assert run(tiny_checkpoint, stopped, "--clips", "2") == 2
    assert "had other data, so it cannot be resumed; start over with --no-resume" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_loaded(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "no checkpoint", tmp_path / "file" / "out") == 2
    assert "file/out cannot be written (Not a directory)" in capsys.readouterr().err


def test_a_full_disk_keeps_the_weights_that_were_there(tiny_checkpoint, stopped, capsys):
    resource = pytest.importorskip("resource")
    before = (stopped / "model.safetensors").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        assert run(tiny_checkpoint, stopped, "--no-resume") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "cannot be written" in capsys.readouterr().err
    assert (stopped / "model.safetensors").read_bytes() == before
    assert not list(stopped.glob("*.part"))


@pytest.mark.parametrize("room", [0, 2000])
def test_a_disk_that_is_full_from_the_start_leaves_no_half_files(tiny_checkpoint, tmp_path, capsys, room):
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
    try:
        assert run(tiny_checkpoint, tmp_path / "out") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "cannot be written (" in capsys.readouterr().err
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left == ([] if room == 0 else ["training_data.json"])


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), writing(tmp_path):
        raise RuntimeError("CUDA out of memory")
    with pytest.raises(CheckpointError, match="No space left"), writing(tmp_path):
        raise OSError(28, "No space left on device")


def test_an_older_checkpoint_s_template_is_kept(tiny_checkpoint, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(tiny_checkpoint, older)
    template = (older / "chat_template.jinja").read_text()
    (older / "chat_template.jinja").unlink()
    (older / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert run(older, tmp_path / "out", "--steps", "1") == 0
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == template
    assert np.isfinite(
        [float(value.float().sum()) for value in load_file(tmp_path / "out" / "model.safetensors").values()]
    ).all()
