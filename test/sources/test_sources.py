"""Frame sources: world, video file, image folder, camera; each refusal names its remedy."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("damage", [b"", b"no picture", b"\xff\xd8\xff\xe0 JPEG", None])
def test_an_image_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, damage: bytes | None) -> None:
    folder = write_folder(tmp_path / "images", ["1.png", "2.png", "3.png"])
    whole = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    source = open_source(str(folder), rate=1.0)
    assert [frame.time for frame in source.frames()] == [0.0, 2.0]
    (note,) = source.notes
    assert "1 of 3 images could not be used" in note
    assert "2.png cannot be read" in note


def test_a_folder_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", ["1.png", "2.png"])
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError, match=r"No image of .* can be used: .*1\.png cannot be read"):
        read(str(folder))


ORIENTED = {  # EXIF orientation: how the stored picture must be turned to be upright
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: np.rot90(image, 1),
    99: lambda image: image,
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_images_are_turned_upright_by_their_exif_orientation(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    from PIL import Image

    y, x = np.mgrid[0:40, 0:60]
    stored = np.stack([4 * x, 6 * y, 255 - 4 * x], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    expected = ORIENTED[orientation](stored)
    for source in (str(tmp_path), str(tmp_path / f"a.{suffix}")):  # the folder, and the file by itself
        (frame,) = read(source)
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16", "RGB"])
def test_images_of_every_mode_become_colour(tmp_path: Path, mode: str) -> None:
    from PIL import Image

    ramp = np.repeat(np.linspace(0, 255, 64)[None].astype(np.uint8), 48, 0)
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 10 + 7000)  # thermal: black by its high byte
    else:
        image = Image.fromarray(ramp).convert("RGB" if mode in ("P", "CMYK") else mode)
        image = image.convert(mode)
    image.save(tmp_path / ("a.tiff" if mode == "CMYK" else "a.png"))
    (frame,) = read(str(tmp_path))
    assert frame.image.shape == (48, 64, 3)
    assert frame.image[:, :4].mean() < 40
    assert frame.image[:, -4:].mean() > 215


@pytest.mark.parametrize(
    ("side", "claim"), [(8_100, "claims 8100x8100 pixels"), (20_000, r"claims more than \d+ pixels")]
)
def test_an_image_that_claims_too_many_pixels_is_told(tmp_path: Path, side: int, claim: str) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    (tmp_path / "1.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))
    )
    cv2.imwrite(str(tmp_path / "2.png"), np.zeros((8, 8, 3), np.uint8))
    source = open_source(str(tmp_path))
    assert len(list(source.frames())) == 1
    assert re.search(claim, source.notes[0])


def test_pictures_of_other_kinds_are_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", ["1.png", "2.png"])
    for name in ("3.HEIC", "4.heic", "5.dng"):
        (folder / name).write_bytes(b"x")
    source = open_source(str(folder), rate=1.0)
    assert len(list(source.frames())) == 2
    assert source.notes == [f"1 .dng, 2 .heic of {folder} were left out; convert them to JPEG or PNG."]


def test_a_folder_without_images_says_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_folder(tmp_path / "run" / "front", ["1.png"])
    with pytest.raises(SourceError, match=r"has no images; subfolders are not read, .* such as front"):
        open_source(str(tmp_path / "run"))
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "1.heic").touch()
    with pytest.raises(SourceError, match=r"has no images; convert its \.heic files"):
        open_source(str(tmp_path / "phone"))


def test_a_folder_of_very_many_bad_images_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stride_ros.sources.folder._MOST_BAD", 20)
    folder = write_folder(tmp_path / "images", ["000.png"])
    for number in range(1, 30):
        (folder / f"{number}.png").touch()
    with pytest.raises(SourceError, match="More than 20 consecutive images"):
        list(open_source(str(folder)).frames())
