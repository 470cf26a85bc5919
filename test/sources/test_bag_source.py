"""A recording as a source: opened once, read from any thread."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
from stride_ros.bags.writer import START_STAMP, BagWriter
from stride_ros.errors import SourceError
from stride_ros.sources import SourceFrame, open_source


@pytest.fixture(params=["mcap", "sqlite3"])
def bag(request, tmp_path: Path) -> Path:
    path = tmp_path / "bag"
    with BagWriter(path, request.param) as writer:
        for i in range(4):
            picture = np.full((8, 12, 3), 60 * i, np.uint8)
            writer.write_image("/camera", picture, START_STAMP + i * 10**9, raw=True)
    return path


def greys(frames: list[SourceFrame]) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_a_recording_is_opened_once_and_read_from_another_thread(bag: Path) -> None:
    source = open_source(str(bag))
    shutil.rmtree(bag)  # only what is open already can still be read
    found: list[SourceFrame] = []
    thread = threading.Thread(target=lambda: found.extend(source.frames()))
    thread.start()
    thread.join()
    assert greys(found) == [0, 60, 120, 180]


def test_each_reading_begins_at_the_start(bag: Path) -> None:
    source = open_source(str(bag))
    assert greys([next(iter(source.frames()))]) == [0]
    assert greys(list(source.frames())) == [0, 60, 120, 180]
    assert greys(list(source.frames())) == [0, 60, 120, 180]


def test_a_recording_that_is_gone_by_then_ends_in_a_sentence(bag: Path) -> None:
    source = open_source(str(bag))
    list(source.frames())
    shutil.rmtree(bag)
    with pytest.raises(SourceError, match="There is no recording"):
        list(source.frames())


def test_a_source_that_is_never_read_leaves_no_copy(bag: Path, tmp_path: Path, monkeypatch) -> None:
    zstandard = pytest.importorskip("zstandard", reason="zstandard is missing")
    (file,) = (file for file in bag.iterdir() if file.name != "metadata.yaml")
    file.with_name(f"{file.name}.zstd").write_bytes(zstandard.compress(file.read_bytes()))
    file.unlink()
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    source = open_source(str(bag))
    assert list(copies.iterdir())
    del source
    assert not list(copies.iterdir())
