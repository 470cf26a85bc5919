"""Videos as phones, screen recorders, cameras and accidents make them, played and trained on alike."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is missing; install it with: pip install av")
from stride_ros.errors import SourceError  # noqa: E402
from stride_ros.sources import open_source  # noqa: E402
from stride_ros.training.sources.video import VideoFile  # noqa: E402

MILLISECOND = Fraction(1, 1000)
TENTHS = [i / 10 for i in range(60)]


def picture(grey: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Red above, blue below, and a grey middle; a quarter turn changes where things are."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2], image[height // 2 :] = (200, 0, 0), (0, 0, 200)
    image[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = grey
    return image


def grey_of(image: np.ndarray) -> int:
    """The grey level in the middle."""
    return round(float(image[image.shape[0] // 2, image.shape[1] // 2].mean()))


def write(
    path: Path,
    times: Sequence[float],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: float = 0.0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 48),
    stays: float = 0.0,
) -> Path:
    """A video with a picture at each of `times` (s), whose middle has the grey level 2 * time + 20."""
    if codec.startswith("lib") and codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10, options=options or {"g": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = MILLISECOND
        stream.metadata.update(metadata or {})
        audio: Any = container.add_stream("aac", rate=16000) if sound else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(picture(round(2 * time) + 20, size), "rgb24")
            frame.pts, frame.time_base = round(time * 1000), MILLISECOND
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            if stays:
                packet.duration = round(stays / packet.time_base)
            container.mux(packet)
        for i in range(int(sound * 16000 / 1024)):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 16000, i * 1024
            container.mux(audio.encode(silence))
        if sound:
            container.mux(audio.encode())
    return path


def play(path: Path, rate: float = 10.0, **options: Any) -> tuple[list[np.ndarray], list[float], list[str]]:
    """Images, times and notes."""
    source = open_source(str(path), rate=rate, **options)
    frames = list(source.frames())
    return [frame.image for frame in frames], [frame.time for frame in frames], list(source.notes)


def grey_at(time: float) -> int:
    return round(2 * time) + 20


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """An MP4 file whose track has a display matrix with a, b, c, d."""
    a, b, c, d = (value * 0x10000 for value in matrix)
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 4
    start += 52 if data[start] == 1 else 40
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


MATRICES = {
    "upright": ((1, 0, 0, 1), lambda image: image),
    "a quarter clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "half a turn": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "a quarter back": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down in a mirror": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
}


def corners(image: np.ndarray) -> list[str]:
    """What is in the corners, from the top left by rows."""
    found = [image[row, column] for row in (2, -3) for column in (2, -3)]
    return ["red" if pixel[0] > pixel[2] else "blue" for pixel in found]


@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_turns_the_picture_where_it_is_played_and_trained_on(
    tmp_path: Path, name: str
) -> None:
    matrix, expected = MATRICES[name]
    path = turned(write(tmp_path / "phone.mp4", TENTHS[:20]), matrix)
    images, _, _ = play(path)
    trained, _ = VideoFile(path).read([0.0, 1.0])
    upright = expected(picture(0))
    for image in (images[0], *trained):
        assert image.shape == upright.shape
        assert corners(image) == corners(upright)
    assert np.array_equal(images[0], trained[0])


@pytest.mark.parametrize(
    ("degrees", "turns"), [("90", -1), ("180", 2), ("270", 1), ("-90", 1), ("0", 0), ("x", 0)]
)
def test_a_rotate_tag_turns_the_picture_too(tmp_path: Path, degrees: str, turns: int) -> None:
    path = write(tmp_path / "copied.mkv", TENTHS[:20], metadata={"rotate": degrees})
    upright = np.rot90(picture(0), turns)
    for image in (play(path)[0][0], VideoFile(path).read([0.0])[0][0]):
        assert image.shape == upright.shape
        assert corners(image) == corners(upright)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
def test_the_length_is_that_of_the_pictures(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"sound.{suffix}", TENTHS, sound=30.0)
    assert VideoFile(path).end == pytest.approx(5.9, abs=0.11)
    assert play(path)[1][-1] == pytest.approx(5.9, abs=0.01)


@pytest.mark.parametrize("rate", [1.0, 2.0, 10.0])
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_still_scene_shows_its_last_picture_again(tmp_path: Path, suffix: str, rate: float) -> None:
    begun = [i / 10 for i in range(31)] + [23 + i / 10 for i in range(20)]
    path = write(tmp_path / f"still.{suffix}", begun)
    images, times, notes = play(path, rate)
    assert notes == []
    assert max(np.diff(times)) <= 1.51 / rate
    for image, time in zip(images, times, strict=True):
        shown = max(at for at in begun if at <= time + 1e-3)
        assert grey_of(image) == pytest.approx(grey_at(shown), abs=3)
    asked = [float(i) for i in range(25)]
    images, times = VideoFile(path).read(asked)
    assert times == pytest.approx(asked, abs=0.002)
    assert [grey_of(image) for image in images] == pytest.approx(
        [grey_at(max(at for at in begun if at <= time)) for time in asked], abs=3
    )


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_slow_video_keeps_its_pictures_and_none_is_doubled(tmp_path: Path, suffix: str) -> None:
    begun = [i + 0.04 * (-1) ** i for i in range(1, 9)]  # a camera of 1 Hz that is not exact
    path = write(tmp_path / f"slow.{suffix}", begun)
    assert play(path)[1] == pytest.approx(np.subtract(begun, begun[0]).tolist(), abs=0.002)


def test_a_last_picture_that_stays_is_shown_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "stays.mp4", TENTHS[:10], stays=5.0)
    images, times, _ = play(path, rate=1.0)
    assert times == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], abs=0.11)
    assert grey_of(images[-1]) == pytest.approx(grey_at(0.9), abs=3)
    assert VideoFile(path).end == pytest.approx(5.9, abs=0.11)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("first", [5.0, 100.0])
def test_times_count_from_the_first_picture(tmp_path: Path, suffix: str, first: float) -> None:
    path = write(tmp_path / f"later.{suffix}", [first + time for time in TENTHS])
    assert play(path)[1] == pytest.approx(TENTHS, abs=0.002)
    video = VideoFile(path)
    images, times = video.read([0.0, 3.0, 5.0])
    assert times == pytest.approx([0.0, 3.0, 5.0], abs=0.002)
    assert grey_of(images[1]) == pytest.approx(grey_at(first + 3), abs=3)
    assert video.end == pytest.approx(5.9, abs=0.11)


def test_a_broadcast_whose_times_begin_anew_counts_on(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{i}.ts", TENTHS, options={"g": "10", "bf": "2"}) for i in range(2)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    images, times, notes = play(path)
    assert len(images) >= 118
    assert times[-1] == pytest.approx(11.9, abs=0.3)
    assert any("times continue" in note for note in notes)
    video = VideoFile(path)
    assert video.end == pytest.approx(11.9, abs=0.3)
    (image,), _ = video.read([10.0])
    assert grey_of(image) == pytest.approx(grey_at(4.0), abs=4)


def raw_times(path: Path, stamps: Sequence[int]) -> Path:
    """A Matroska file of JPEG pictures at these milliseconds, in any order."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for i, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(2 * i + 20), "rgb24").reformat(format="yuvj420p")
            for packet in stream.encode(frame):
                packet.time_base, packet.pts, packet.dts = MILLISECOND, stamp, min(i, stamp)
                packet.stream = stream
                container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("stamps", "least", "told"),
    [
        ([0, 100, 100, 200, 300, 300, 400], 5, "out of order or twice"),
        ([0, 100, 300, 200, 400, 500], 5, "out of order or twice"),
        ([0] * 40, 25, "do not advance"),
    ],
    ids=["doubled", "swapped", "all the same"],
)
def test_times_that_do_not_increase_are_told_and_the_pictures_used(
    tmp_path: Path, stamps: list[int], least: int, told: str
) -> None:
    path = raw_times(tmp_path / "odd.mkv", stamps)
    images, times, notes = play(path)
    assert len(images) >= least
    assert all(np.diff(times) > 0)
    assert any(told in note for note in notes)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv", "mp4"])
def test_a_file_that_is_cut_off_is_read_up_to_the_cut_and_told(tmp_path: Path, suffix: str) -> None:
    path = write(
        tmp_path / f"whole.{suffix}",
        TENTHS,
        container_options={"movflags": "faststart"} if suffix == "mp4" else None,
        options={"g": "10", "crf": "0"} if suffix == "mp4" else None,
    )
    data = path.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    images, times, notes = play(cut)
    assert 10 < len(images) < 60
    assert suffix == "ts" or any("may be cut off" in note or "damaged" in note for note in notes)
    video = VideoFile(cut)
    assert video.end == pytest.approx(times[-1], abs=0.35)
    assert video.read([video.end])[0]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi", "flv"])
def test_damage_inside_costs_only_its_pictures_and_is_told(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", TENTHS, options={"g": "5"}, size=(160, 120))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(1).integers(0, 256, 400, np.uint8).tobytes()
    path.write_bytes(data)
    images, times, notes = play(path)
    assert len(images) > 40
    assert times[-1] == pytest.approx(5.9, abs=0.01)
    if len(images) < 60:
        assert any("could not be decoded" in note for note in notes) or max(np.diff(times)) < 0.21


PIXELS = {
    "yuv420p": "ffv1",
    "yuv420p10le": "ffv1",
    "yuv422p10le": "ffv1",
    "yuv444p16le": "ffv1",
    "gray": "ffv1",
    "gray10le": "ffv1",
    "gray16le": "ffv1",
    "bgra": "ffv1",
    "yuva420p": "ffv1",
    "gbrp12le": "ffv1",
    "rgb24": "png",
    "rgba": "png",
    "ya8": "png",
    "gray16be": "png",
    "rgb8": "gif",
    "argb": "qtrle",
    "yuvj420p": "mjpeg",
}


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
def test_every_pixel_format_shows_the_same_picture(
    tmp_path: Path, pixels: str, size: tuple[int, int]
) -> None:
    codec = PIXELS[pixels]
    path = tmp_path / {"gif": "a.gif", "qtrle": "a.mov", "png": "a.mov"}.get(codec, "a.mkv")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(picture(120, size), "rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode())
    image = play(path)[0][0]
    assert image.shape == (size[1], size[0], 3)
    assert grey_of(image) == pytest.approx(120, abs=30 if pixels == "rgb8" else 4)
    if not pixels.startswith(("gray", "ya8")):
        assert corners(image) == ["red", "red", "blue", "blue"]
        assert np.abs(image[2, 2].astype(int) - (200, 0, 0)).max() < 40
    assert np.array_equal(VideoFile(path).read([0.0])[0][0], image)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 7), (3, 3)])
@pytest.mark.parametrize("codec", ["qtrle", "png"])
def test_tiny_pictures_are_read(tmp_path: Path, codec: str, size: tuple[int, int]) -> None:
    pixels = "rgb24"
    path = write(tmp_path / "tiny.mov", TENTHS[:5], codec=codec, pixels=pixels, size=size, options={})
    assert play(path)[0][0].shape == (size[1], size[0], 3)


def two_streams(path: Path, sizes: dict[str, tuple[int, int]], marks: dict[str, str]) -> Path:
    from av.stream import Disposition

    with av.open(str(path), "w") as container:
        streams = []
        for name, size in sizes.items():
            cover = marks.get(name) == "attached_pic"
            stream = container.add_stream("mjpeg" if cover else "libx264", rate=10)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if cover else "yuv420p"
            if marks.get(name):
                stream.disposition = Disposition[marks[name]]
            streams.append((stream, size, 1 if cover else 20))
        for stream, size, count in streams:
            for _ in range(count):
                frame = av.VideoFrame.from_ndarray(picture(50, size), "rgb24").reformat(format=stream.pix_fmt)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("cover", ["first", "second"])
def test_a_cover_picture_is_not_taken_for_the_video(tmp_path: Path, cover: str) -> None:
    sizes = {"first": (64, 48), "second": (64, 48), cover: (640, 480)}
    path = two_streams(tmp_path / "cover.mp4", sizes, {cover: "attached_pic"})
    images, _, notes = play(path)
    assert (len(images), images[0].shape) == (20, (48, 64, 3))
    assert notes == []
    assert VideoFile(path).end == pytest.approx(1.9, abs=0.11)


def test_a_sound_file_with_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "only_cover.mp4"
    with av.open(str(path), "w") as container:
        from av.stream import Disposition

        sound = container.add_stream("aac", rate=16000)
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(picture(50), "rgb24").reformat(format="yuvj420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(SourceError, match="no video stream, only a cover picture"):
        open_source(str(path))
    with pytest.raises(SourceError, match="no video stream, only a cover picture"):
        VideoFile(path)


@pytest.mark.parametrize(
    ("first", "second", "default", "chosen"),
    [
        ((64, 48), (320, 240), None, (320, 240)),
        ((320, 240), (64, 48), None, (320, 240)),
        ((64, 48), (320, 240), "first", (64, 48)),
    ],
)
def test_of_several_videos_the_default_or_the_largest_is_used_and_told(
    tmp_path: Path,
    first: tuple[int, int],
    second: tuple[int, int],
    default: str | None,
    chosen: tuple[int, int],
) -> None:
    marks = {default: "default"} if default else {}
    name = "two.mp4" if default else "two.ts"  # MP4 marks one of its own accord, MPEG-TS none
    path = two_streams(tmp_path / name, {"first": first, "second": second}, marks)
    images, _, notes = play(path)
    trained, _ = VideoFile(path).read([0.0])
    assert images[0].shape == trained[0].shape == (chosen[1], chosen[0], 3)
    assert any(f"2 video streams; stream {[first, second].index(chosen)}" in note for note in notes)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "x.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(SourceError, match="is not a regular file; give the path of a video"):
        open_source(str(path))


def test_a_video_that_does_not_begin_at_zero_is_not_called_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "later.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
            frame.pts = number + 1000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    source = open_source(str(path))
    assert len(list(source.frames())) == 20
    assert list(source.notes) == []
