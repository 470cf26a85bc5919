#!/usr/bin/env python3
"""Compare the conversion of image messages to RGB with plain methods: NumPy indexing and Pillow.

    python -m stride_ros.benchmark.images      # 1920x1080 and 3840x2160, every encoding of the table
    python -m stride_ros.benchmark.images --size 640x480 --rounds 20

It prints the CPU time of one core in ms, the minimum of several alternating rounds, and whether both give the
same pixels. Both return contiguous pixels, which the model's preprocessing needs.
"""

from __future__ import annotations

import argparse
import array
import io
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb

# encoding: (bytes per sample, samples per pixel, indices of red, green and blue)
PACKED = {
    "rgb8": (1, 3, (0, 1, 2)),
    "bgr8": (1, 3, (2, 1, 0)),
    "8UC3": (1, 3, (2, 1, 0)),
    "rgba8": (1, 4, (0, 1, 2)),
    "bgra8": (1, 4, (2, 1, 0)),
    "mono8": (1, 1, (0, 0, 0)),
    "bgr16": (2, 3, (2, 1, 0)),
    "mono16": (2, 1, (0, 0, 0)),
}


def scene(width: int, height: int) -> np.ndarray:
    """A gradient with noise like that of a camera, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    gradient = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return np.asarray(gradient // 2 + cv2.GaussianBlur(noise, (0, 0), 2.0) // 2, np.uint8)


def indexed(message: Image) -> np.ndarray:
    """Convert with NumPy indexing."""
    size, channels, order = PACKED[message.encoding]
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, channels * size)
    samples = pixels[:, :, size - 1 :: size]
    return samples[:, :, :3] if order == (0, 1, 2) else samples[:, :, order]


def by_pillow(message: CompressedImage) -> np.ndarray:
    from PIL import Image as PillowImage

    with PillowImage.open(io.BytesIO(bytes(message.data))) as picture:
        return np.asarray(picture.convert("RGB"))


def cases(width: int, height: int) -> list[tuple[str, Callable[[], np.ndarray], Callable[[], np.ndarray]]]:
    """Name, the package's method and the plain method of each case."""
    rgb = scene(width, height)
    made: list[tuple[str, Callable[[], np.ndarray], Callable[[], np.ndarray]]] = []
    for encoding, (size, channels, _) in PACKED.items():
        pixels = np.resize(rgb, (height, width * channels * size))
        message = Image(encoding=encoding, width=width, height=height, step=pixels.shape[1])
        message.data = array.array("B", pixels.tobytes())
        made.append((encoding, partial(image_to_rgb, message), partial(indexed, message)))
    for kind in ("jpeg", "png"):
        message = CompressedImage(format=kind)
        message.data = array.array("B", cv2.imencode(f".{kind}", rgb)[1].tobytes())
        made.append((kind, partial(compressed_to_rgb, message), partial(by_pillow, message)))
    return made


def cost(convert: Callable[[], np.ndarray]) -> float:
    started = time.thread_time()
    np.ascontiguousarray(convert())
    return 1e3 * (time.thread_time() - started)


def size_of(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=size_of, action="append", help="WIDTHxHEIGHT; may be given again")
    parser.add_argument("--rounds", type=int, default=10, help="of each case (default: %(default)s)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print("| image | plain (ms) | package (ms) | equal |\n|---|---|---|---|", flush=True)
    for width, height in arguments.size or [(1920, 1080), (3840, 2160)]:
        for name, package, plain in cases(width, height):
            same = "yes" if np.array_equal(package(), plain()) else "no"
            pairs = [(cost(plain), cost(package)) for _ in range(arguments.rounds)]
            before, after = (min(times) for times in zip(*pairs, strict=True))
            print(f"| {width}x{height} {name} | {before:.1f} | {after:.1f} | {same} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
