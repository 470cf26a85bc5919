"""Build pictures of every kind, including costly ones, and decode them within the limits of a robot.

    python tools/build_pictures.py --count 2000 --seed 1

JPEG (baseline and progressive, up to hundreds of scans), PNG (all depths, interlaced, in many chunks), TIFF
(all compressions of Pillow, strips of a row), WebP (lossy, lossless, animated) and BMP, with one pixel to 64
million, some with a header that claims more. Each is read in a separate process, like a picture from a
message. A fault is a picture that costs more than `CPU_LIMIT` s of processor time or `MEMORY_LIMIT` bytes in
addition to the file. It is printed with its number; `--only NUMBER` builds and reads only that one. Exit code
1 means that there was a fault.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CPU_LIMIT, MEMORY_LIMIT, WALL_LIMIT = 2.0, 300_000_000, 120  # s, bytes, s
SIZES = (
    *((1, 1), (2, 3), (17, 31), (320, 240), (640, 480), (640, 480), (1280, 720), (1920, 1080), (3840, 2160)),
    *((65500, 8), (8, 65500), (16383, 64), (2048, 2048), (4096, 3072), (4900, 3300)),
)
LARGE = ((5472, 3648), (6000, 4000), (5120, 5120), (7680, 4320), (8000, 8000), (7700, 7700))
PNG_TYPES = {
    "L": (8, 0),
    "I;16": (16, 0),
    "RGB": (8, 2),
    "RGB16": (16, 2),
    "P": (8, 3),
    "LA16": (16, 4),
    "RGBA16": (16, 6),
}
Picture = tuple[str, bytes]


def pixels(chance: random.Random, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: flat, blocks, or incompressible noise."""
    width, height = size
    kind = chance.choice(("flat", "blocks", "noise"))
    if kind == "flat":
        return np.full((height, width, 3), chance.randrange(256), np.uint8)
    draw = np.random.default_rng(chance.randrange(1 << 30))
    if kind == "noise":
        return draw.integers(0, 256, (height, width, 3), np.uint8)
    small = draw.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1)[:height, :width])


def build(chance: random.Random, most: int = 64_000_000) -> Picture:
    """Build a picture with up to `most` pixels; return its kind and file."""
    maker: Callable[[random.Random, tuple[int, int]], Picture] = chance.choice(
        (jpeg, jpeg, png, png, tiff, webp, bmp)
    )
    size = chance.choice(LARGE) if chance.random() < 0.06 else chance.choice(SIZES)
    if size[0] * size[1] > most:
        size = 320, 240
    kind, data = maker(chance, size)
    if chance.random() < 0.05:
        data = data[: chance.randrange(len(data) + 1)]
        kind += ", cut"
    return kind, data


def jpeg(chance: random.Random, size: tuple[int, int]) -> Picture:
    import cv2

    image = pixels(chance, size)
    quality, progressive = chance.choice((10, 50, 90, 100)), chance.random() < 0.5
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    options += [
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        chance.choice((0x411111, 0x221111, 0x211111, 0x121111, 0x111111)),
    ]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, chance.choice((0, 0, 1, 64))]
    if chance.random() < 0.15:
        image = image[:, :, 0]
    if chance.random() < 0.1 and image.ndim == 3:
        from PIL import Image

        data = saved(
            Image.fromarray(image).convert("CMYK"), "JPEG", quality=min(quality, 95), progressive=progressive
        )
    else:
        data = cv2.imencode(".jpg", image, options)[1].tobytes()
    notes = f"JPEG {size[0]}x{size[1]} quality {quality}" + (" progressive" if progressive else "")
    if progressive and chance.random() < 0.6:
        scans = chance.choice((1, 10, 30, 38, 45, 100, 500))
        last = data[data.rfind(b"\xff\xda") : -2]
        if len(last) * scans < 200_000_000:
            data = data[:-2] + scans * last + b"\xff\xd9"
            notes += f", {scans} scans more"
    if chance.random() < 0.1:
        data = data[:-2]
        notes += ", no end"
    if chance.random() < 0.1:
        data = (
            data[:2]
            + b"\xff\xe1\x00\x10"
            + bytes(14)
            + b"\xff\xfe\0\2" * chance.choice((10, 4000, 90_000))
            + data[2:]
        )
        notes += ", many segments"
    if chance.random() < 0.1:
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        if frame > 0:
            width, height = chance.choice(LARGE)
            data = data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]
            notes += f", claims {width}x{height}"
    return notes, data


def saved(image: Any, kind: str, **options: Any) -> bytes:
    from PIL import ImageFile

    ImageFile.MAXBLOCK = 1 << 28  # progressive JPEG is written at once
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(chance: random.Random, size: tuple[int, int]) -> Picture:
    """Write a PNG file here, since no library writes the odd ones: interlaced, in tiny chunks, with bombs."""
    mode = chance.choice(list(PNG_TYPES))
    depth, colour = PNG_TYPES[mode]
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    interlaced = chance.random() < 0.3
    width, height = size
    row = width * channels * depth // 8
    noise = chance.random() < 0.4
    if interlaced:
        passes = (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        )
        rows = [
            (-(-(width - x) // dx), -(-(height - y) // dy))
            for x, y, dx, dy in passes
            if width > x and height > y
        ]
        raw = b"".join((b"\1" + bytes(w * channels * depth // 8)) * h for w, h in rows)
    else:
        filling = np.random.default_rng(chance.randrange(1 << 30)).integers(
            0, 256, (height, 1 + row), np.uint8
        )
        filling[:, 0] = chance.randrange(5)  # the filter of each row
        filling[:, 1:] *= noise
        raw = filling.tobytes()
    packed = zlib.compress(raw, 1)
    notes = (
        f"PNG {width}x{height} {mode}" + (" interlaced" if interlaced else "") + (" noise" if noise else "")
    )
    part = chance.choice((len(packed), 8192, 8192, 100, 1))
    if len(packed) // part > 3_000_000:
        part = 8192
    parts = [(b"IDAT", packed[at : at + part]) for at in range(0, len(packed), part)]
    if part < 8192:
        notes += f", chunks of {part}"
    head = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))]
    if colour == 3:
        head.append((b"PLTE", bytes(768)))
    if chance.random() < 0.1:
        bomb = zlib.compress(bytes(50_000_000), 9)
        head.append(chance.choice(((b"zTXt", b"a\0\0" + bomb), (b"iCCP", b"a\0\0" + bomb))))
        notes += f", {head[-1][0].decode()} bomb"
    chunks = [*head, *parts, (b"IEND", b"")]
    return notes, b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(chance: random.Random, size: tuple[int, int]) -> Picture:
    from PIL import Image, features

    image = Image.fromarray(pixels(chance, size))
    mode = chance.choice(("1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LAB", "YCbCr"))
    grey = np.asarray(image.convert("L"))
    image = (
        Image.fromarray(grey.astype(np.uint16) * 200)
        if mode == "I;16"
        else image.convert(mode)
        if mode != "LAB"
        else image
    )
    compressions = (
        ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "lzma", "zstd", "jpeg"]
        if features.check("libtiff")
        else ["raw"]
    )
    compression = "group4" if mode == "1" and len(compressions) > 1 else chance.choice(compressions)
    options: dict[str, Any] = {"compression": compression}
    if chance.random() < 0.3:
        options["strip_size"] = 1  # bytes: one row per strip
    if chance.random() < 0.1 and size[0] * size[1] < 1_000_000:
        options |= {"save_all": True, "append_images": [image] * 20}
    notes = f"TIFF {size[0]}x{size[1]} {mode} {compression}" + (
        " row by row" if "strip_size" in options else ""
    )
    try:
        return notes, saved(image, "TIFF", **options)
    except (OSError, ValueError, KeyError, RuntimeError):  # a combination that Pillow does not write
        return notes + " raw", saved(image.convert("RGB"), "TIFF")


def webp(chance: random.Random, size: tuple[int, int]) -> Picture:
    from PIL import Image

    size = min(size[0], 16383), min(size[1], 16383)
    if size[0] * size[1] > 4_000_000 and chance.random() < 0.7:  # slow to build
        size = 1280, 720
    image = Image.fromarray(pixels(chance, size)).convert(chance.choice(("RGB", "RGB", "RGBA")))
    options: dict[str, Any] = {
        "lossless": chance.random() < 0.5,
        "quality": chance.choice((0, 50, 100)),
        "method": 0,
    }
    notes = f"WebP {size[0]}x{size[1]} {image.mode}" + (" lossless" if options["lossless"] else "")
    if chance.random() < 0.2 and size[0] * size[1] < 2_100_000:
        options |= {"save_all": True, "append_images": [image.rotate(180 * (i % 2)) for i in range(30)]}
        notes += ", animated"
    try:
        return notes, saved(image, "WEBP", **options)
    except ValueError:  # too much noise for its partitions
        return notes + " quality 10", saved(image, "WEBP", quality=10, method=0)


def bmp(chance: random.Random, size: tuple[int, int]) -> Picture:
    from PIL import Image

    width, height = size
    if chance.random() < 0.4:  # run lengths, which Pillow does not write
        run = chance.choice((1, 2, 255))
        rows = (bytes((run, 7)) * (width // run) + b"\0\0") * height + b"\0\1"
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
        offset = 14 + len(head) + 1024
        return f"BMP {width}x{height} runs of {run}", b"BM" + struct.pack(
            "<IHHI", offset + len(rows), 0, 0, offset
        ) + head + bytes(1024) + rows
    image = Image.fromarray(pixels(chance, size)).convert(chance.choice(("1", "L", "P", "RGB", "RGBA")))
    return f"BMP {width}x{height} {image.mode}", saved(image, "BMP")


def decode() -> None:
    """Read the files named on stdin, each in a separate process; print a line on stdout for each."""
    import cv2
    from PIL import Image

    from stride_ros.errors import FrameError
    from stride_ros.imaging.picture_file import read_picture

    cv2.setNumThreads(1)
    Image.preinit()
    Image.init()
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(WALL_LIMIT)
            data = Path(line.strip()).read_bytes()
            before, begun = memory("VmRSS"), os.times()
            try:
                outcome = "x".join(map(str, read_picture(data).shape))
            except FrameError as error:
                outcome = f"refused: {error}"
            except Exception as error:
                outcome = f"damaged: {type(error).__name__}: {str(error)[:80]}"
            spent = os.times()
            seconds = spent.user + spent.system - begun.user - begun.system
            found = {"outcome": outcome, "seconds": seconds, "bytes": memory("VmHWM") - before}
            os.write(writer, json.dumps(found).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            found_line = stream.read().decode()
        _, status = os.waitpid(child, 0)
        lost = {"outcome": f"its process ended with {status}", "seconds": 1e3, "bytes": 0}
        print(found_line or json.dumps(lost), flush=True)


def memory(name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="pictures to build (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first picture")
    parser.add_argument("--only", type=int, help="one picture")
    parser.add_argument(
        "--cpu-limit", type=float, default=CPU_LIMIT, help="maximum s per picture (default 2)"
    )
    parser.add_argument("--pixels", type=int, default=64_000_000, help="maximum number of pixels per picture")
    parser.add_argument("--decoder", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decoder:
        decode()
        return 0
    numbers = range(arguments.first, arguments.first + arguments.count)
    tally: Counter[str] = Counter()
    faults, longest, largest = [], 0.0, 0
    command = [sys.executable, __file__, "--decoder"]
    with (
        TemporaryDirectory(prefix="pictures-") as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as decoder,
    ):
        assert decoder.stdin is not None
        assert decoder.stdout is not None
        file = Path(folder, "picture")
        for number in numbers if arguments.only is None else [arguments.only]:
            kind, data = build(random.Random(f"{arguments.seed}:{number}"), arguments.pixels)
            file.write_bytes(data)
            print(file, file=decoder.stdin, flush=True)
            found = json.loads(decoder.stdout.readline())
            tally["pictures"] += 1
            tally[found["outcome"].partition(":")[0] if ":" in found["outcome"] else "read"] += 1
            longest, largest = max(longest, found["seconds"]), max(largest, found["bytes"])
            cost = f"{found['seconds']:.2f} s, {found['bytes'] / 1e6:.0f} MB"
            text = f"{number} ({kind}, {len(data)} bytes): {cost}, {found['outcome']}"
            if found["seconds"] > arguments.cpu_limit or found["bytes"] > MEMORY_LIMIT:
                faults.append(text)
                print(text, flush=True)
            elif arguments.only is not None:
                print(text)
        decoder.stdin.close()
    print(
        json.dumps(
            {
                **tally,
                "longest s": round(longest, 2),
                "largest MB": largest // 1_000_000,
                "faults": len(faults),
            }
        )
    )
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
