"""Frame sources: world, video file, image folder, camera; each refusal names its remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
av = pytest.importorskip("av")
from stride_ros.errors import SourceError  # noqa: E402
from stride_ros.sources import SourceFrame, open_source  # noqa: E402


def write_video(path: Path, frames: int = 30, rate: int = 15) -> Path:
    """A small video whose pictures get brighter: picture i is 8 * i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), 8 * i, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def write_folder(path: Path, names: list[str]) -> Path:
    path.mkdir()
    for i, name in enumerate(names):
        cv2.imwrite(str(path / name), np.full((40, 60, 3), 20 * i, np.uint8))
    return path


def read(source: str, **options: object) -> list[SourceFrame]:
    return list(open_source(source, **options).frames())


def test_video_is_read_whole_with_its_own_times(tmp_path: Path) -> None:
    frames = read(str(write_video(tmp_path / "a.mp4")), rate=100.0)
    assert np.allclose([frame.time for frame in frames], np.arange(30) / 15)
    assert frames[0].image.shape == (48, 64, 3)
    assert np.allclose([frame.image.mean() for frame in frames], 8 * np.arange(30), atol=6)


def test_video_is_thinned_cut_and_scaled(tmp_path: Path) -> None:
    frames = read(str(write_video(tmp_path / "a.mp4")), rate=5.0, seconds=1.0, size=(32, 24))
    assert np.allclose([frame.time for frame in frames], [0.0, 0.2, 0.4, 0.6, 0.8])
    assert {frame.image.shape for frame in frames} == {(24, 32, 3)}


def test_video_can_be_read_twice(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mp4")))
    assert len(list(source.frames())) == len(list(source.frames())) > 0


def test_folder_is_read_in_natural_order_at_the_rate(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", ["frame1.png", "frame2.png", "frame10.png"])
    (folder / "notes.txt").write_text("not an image")
    cv2.imwrite(str(folder / "frame3.png"), np.full((40, 60, 3), 100, np.uint8))
    frames = read(str(folder), rate=4.0)
    assert [frame.time for frame in frames] == [0.0, 0.25, 0.5, 0.75]
    assert [int(frame.image.mean()) for frame in frames] == [0, 20, 100, 40]


@pytest.mark.parametrize(
    "names",
    [
        ["1700000000.0.png", "1700000000.25.png", "1700000000.5.png", "1700000001.0.png"],
        ["1²3.png", "2.png", "10.png"],
        ["cam1.9.png", "cam1.10.png", "cam2.1.png"],
        ["٣.png"],
    ],
)
def test_folder_is_read_in_the_order_of_the_numbers_in_its_names(tmp_path: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        path = tmp_path / name
        path.write_bytes(cv2.imencode(".png", np.full((40, 60, 3), 20 * i, np.uint8))[1].tobytes())
    assert [int(frame.image.mean()) for frame in read(str(tmp_path))] == [20 * i for i in range(len(names))]


def test_world_has_ground_truth_and_is_reproducible() -> None:
    source = open_source("world", seconds=20.0, rate=2.0, size=(96, 64), seed=3)
    frames = list(source.frames())
    assert [frame.time for frame in frames] == [i / 2 for i in range(41)]
    assert source.events
    assert all(0 <= event.start < event.end <= 20 for event in source.events)
    again = read("world", seconds=20.0, rate=2.0, size=(96, 64), seed=3)
    assert np.array_equal(frames[17].image, again[17].image)


def test_refusals_name_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        for packet in [*stream.encode(silence), *stream.encode()]:
            container.mux(packet)
    for source, sentence in [
        ("", "does not exist; use world"),
        (str(tmp_path / "missing.mp4"), "does not exist; use world"),
        (str(tmp_path / "empty"), "has no images"),
        (str(tmp_path / "text.mp4"), "not a readable video"),
        (str(tmp_path / "sound.mp4"), "no video stream"),
        ("/dev/video97", "does not exist; list the cameras"),
        ("97", "/dev/video97 does not exist"),
        ("/dev/null", "not a working V4L2 camera"),
    ]:
        with pytest.raises(SourceError, match=sentence):
            open_source(source)


def test_busy_and_forbidden_cameras_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    for code, sentence in [(errno.EBUSY, "used by another program"), (errno.EACCES, "video group")]:

        def refuse(*_: object, code: int = code, **__: object) -> None:
            raise OSError(code, "refused")

        monkeypatch.setattr(av, "open", refuse)
        with pytest.raises(SourceError, match=sentence):
            open_source("/dev/video0")


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", ["1.png", "2.png"])
    (folder / "2.png").write_bytes(b"")
    source = open_source(str(folder))
    with pytest.raises(SourceError, match=r"2\.png cannot be read"):
        list(source.frames())
