"""The folder that a training run writes: complete checkpoints to resume from, and complete weights."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from stride_ros.errors import CheckpointError
from stride_ros.qwen3_vl.weight_files import read_header
from stride_ros.text.wording import escaped
from stride_ros.training.sources.recording import Recording
from stride_ros.user_files.output import write_whole

DATA_FILE = "training_data.json"
_ZIPPED = ("optimizer.pt", "scheduler.pt", "training_args.bin")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of a full disk or an unwritable folder into a CheckpointError."""
    from safetensors import SafetensorError

    try:
        yield
    except Exception as error:
        # The tokenizers library raises plain exceptions, PyTorch a RuntimeError.
        told = any(words in str(error) for words in ("(os error ", "PytorchStreamWriter"))
        if not told and not isinstance(error, OSError | SafetensorError):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
        raise CheckpointError(
            f"{folder} cannot be written ({reason}); free some space, or choose another --out."
        ) from error


def make_folder(folder: Path) -> None:
    """Create the folder of a run. CheckpointError if that is not possible."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files are moved to `folder` at the end of the block, except after an error."""
    with TemporaryDirectory(dir=folder, prefix=".new-") as name:
        beside = Path(name)
        yield beside
        for file in sorted(path for path in beside.rglob("*") if path.is_file()):
            target = folder / file.relative_to(beside)
            target.parent.mkdir(exist_ok=True)
            file.replace(target)


def checkpoints(folder: Path) -> list[Path]:
    """The complete `checkpoint-N` folders of a run, newest first."""
    return [path for path in _numbered(folder) if _is_whole(path)]


def torn_checkpoints(folder: Path) -> list[Path]:
    """Incomplete checkpoints, from a run that was killed or a disk that was full during writing."""
    return [path for path in _numbered(folder) if not _is_whole(path)]


def kept_checkpoint(folder: Path, step: int, resumes: bool = True) -> str:
    """A sentence for the end of a run that was stopped after `step` steps: what is kept."""
    kept = next((path for path in checkpoints(folder) if _number(path) <= step), None)
    if kept is None:
        return f"Stopped at step {step}, before the first checkpoint, so nothing is kept; see --save-steps."
    how = "the same command" if resumes else "the same command without --no-resume"
    return f"Stopped at step {step}; {escaped(str(kept))} is kept, and {how} resumes from it."


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])


def _numbered(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=_number, reverse=True)


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        weights = list(checkpoint.glob("*.safetensors"))
        zipped = all(zipfile.is_zipfile(checkpoint / name) for name in _ZIPPED)
        return bool(weights) and zipped and all(read_header(file) for file in weights)
    except (OSError, ValueError, CheckpointError):
        return False


def fingerprint(recordings: Sequence[Recording]) -> str:
    """A hash of the content of a data set; a run can only resume with the same one."""
    parts = [
        (recording.video.name, round(recording.video.end, 1), recording.queries, recording.events)
        for recording in recordings
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def check_data(folder: Path, data: str, resume: bool) -> None:
    """Store the data set of a run. CheckpointError if a run to resume had another one."""
    file = folder / DATA_FILE
    if resume and checkpoints(folder):
        try:
            before = json.loads(file.read_text(encoding="utf-8"))["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            before = data  # for a run of an earlier release
        if before != data:
            raise CheckpointError(
                f"The run in {folder} had other data, so it cannot be resumed; start over with --no-resume, "
                "or use another --out."
            )
    with writing(folder):
        write_whole(file, json.dumps({"sha256": data}) + "\n")
