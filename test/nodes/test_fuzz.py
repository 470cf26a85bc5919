"""Random and damaged input: no crash, no leak, every refusal explained. STRIDE_FUZZ=20 runs more."""

from __future__ import annotations

import array
import math
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from stride_ros.errors import FrameError  # noqa: E402
from stride_ros.imaging import images  # noqa: E402
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb  # noqa: E402
from stride_ros.nodes.diagnostics import process_memory  # noqa: E402
from stride_ros.nodes.parameters import Parameters  # noqa: E402
from stride_ros.parameters import activation, camera, responder  # noqa: E402
from stride_ros.parameters.activation import check_values, to_config  # noqa: E402

TIMES = int(os.environ.get("STRIDE_FUZZ", "1"))
IMAGES, PARAMETER_SETS = 5_000 * TIMES, 500 * TIMES
LEAK = 200 * 2**20  # bytes; what a run may grow by, decoders' own caches included

ENCODINGS = [
    *images._PACKED,
    *images._YUV422,
    *images._YUV420,
    *images._DEPTH,
    *(
        f"bayer_{pattern}{bits}"
        for pattern in ("rggb", "bggr", "gbrg", "grbg", "xxxx")
        for bits in (8, 16, 12)
    ),
    *("", "RGB8", "jpeg", "nv24", "8UC2", "\0", "rgb8;", "x" * 500, "bayer_", "ünï"),
]
SIDES = [0, 1, 2, 3, 31, 32, 33, 64, 97, 65535, 2**31 - 1, 2**32 - 1]


def random_image(rng: random.Random) -> Image:
    """Half of the time close to a valid image, else anything."""
    small = rng.random() < 0.5
    width, height = (rng.randint(1, 100) if small else rng.choice(SIDES) for _ in range(2))
    pixel = rng.choice([1, 2, 3, 4, 6, 8])
    step = min(width * pixel + rng.choice([0, 0, 1, 7]), 2**32 - 1) if small else rng.choice(SIDES)
    length = min(step * height * rng.choice([2, 3, 3, 3]) // 2, 100_000)
    if rng.random() < 0.2:
        length = rng.randint(0, length)
    image = Image(encoding=rng.choice(ENCODINGS), width=width, height=height, step=step)
    image.is_bigendian = rng.choice([0, 1, 255])
    image.data = array.array("B", rng.randbytes(length))
    return image


def random_compressed(rng: random.Random) -> CompressedImage:
    """A picture in a known or unknown format, whole or with damaged, missing or additional bytes."""
    kind = rng.choice([".png", ".jpg", ".webp", ".bmp", ".tif", ""])
    data = bytearray(rng.randbytes(rng.randint(0, 300)))
    if kind:
        shape = (rng.randint(1, 40), rng.randint(1, 40), 3)
        data = bytearray(cv2.imencode(kind, np.full(shape, rng.randint(0, 255), np.uint8))[1].tobytes())
    for _ in range(rng.choice([0, 0, 1, 3, 30])):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.2:
        del data[rng.randrange(len(data) + 1) :]
    image_format = rng.choice(["jpeg", "png", "rgb8; jpeg compressed bgr8", "", "16UC1; compressedDepth"])
    return CompressedImage(format=image_format, data=array.array("B", bytes(data)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("make", "convert"), [(random_image, image_to_rgb), (random_compressed, compressed_to_rgb)]
)
def test_random_images_are_converted_or_refused(
    make: Callable[[random.Random], Any], convert: Callable[[Any], np.ndarray]
) -> None:
    rng, outcomes = random.Random(0), Counter[str]()
    before = process_memory()
    for _ in range(IMAGES):
        message = make(rng)
        try:
            rgb = convert(message)
        except FrameError as error:
            text = str(error)
            assert text.endswith(".")
            assert "\n" not in text
            assert len(text) < 300
            outcomes["refused"] += 1
        else:
            assert rgb.dtype == np.uint8
            assert rgb.ndim == 3
            assert rgb.shape[2] == 3
            if isinstance(message, Image):
                assert rgb.shape[:2] == (message.height, message.width)
            int(rgb.sum())  # every pixel is there to be read
            outcomes["converted"] += 1
    assert min(outcomes["refused"], outcomes["converted"]) > IMAGES // 50, outcomes
    assert process_memory() - before < LEAK


def test_damaged_serialised_messages_are_refused_by_the_middleware() -> None:
    """The node keeps messages serialised until they are due: whatever arrives must not end it."""
    rng, outcomes = random.Random(1), Counter[str]()
    whole = serialize_message(random_image(rng))
    for _ in range(IMAGES // 5):
        data = bytearray(whole[: rng.choice([64, 200, 1000, len(whole)])])
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(4, min(len(data), 80))] = rng.randrange(256)
        try:
            image_to_rgb(deserialize_message(bytes(data), Image))
            outcomes["converted"] += 1
        except FrameError:
            outcomes["refused"] += 1
        except Exception:  # the middleware raises its own types; the node turns them into FrameError
            outcomes["not deserialised"] += 1
    assert outcomes["not deserialised"] > 0, outcomes


@pytest.mark.parametrize(
    ("table", "check"),
    [
        (activation.TABLE, check_values),
        (responder.TABLE, None),
        (camera.TABLE, None),
    ],
    ids=["activation", "responder", "camera"],
)
def test_random_parameters_are_set_or_refused_with_a_reason(graph: Any, table: Any, check: Any) -> None:
    node = graph.host(lambda **options: Node("fuzzed", **options))
    parameters = Parameters(node, table, check)
    rng, outcomes = random.Random(2), Counter[bool]()
    names = [spec.name for spec in table]
    for _ in range(PARAMETER_SETS):
        before = parameters.values()
        changes = [
            Parameter(name, value=random_value(rng, before[name]))
            for name in rng.sample(names, rng.randint(1, 3))
        ]
        result = node.set_parameters_atomically(changes)
        outcomes[result.successful] += 1
        after = parameters.values()
        if result.successful:
            for spec in table:
                spec.check(after[spec.name])
            if check is check_values:
                to_config(after)
        else:
            assert result.reason
            assert after == before
    assert outcomes[False] > PARAMETER_SETS // 10
    if check is not None:
        assert outcomes[True] > PARAMETER_SETS // 50


def random_value(rng: random.Random, current: Any) -> Any:
    """Often a value of the right type, sometimes anything a client could send."""
    if rng.random() < 0.6:
        if isinstance(current, bool):
            return rng.random() < 0.5
        if isinstance(current, int):
            return rng.choice([current, rng.randint(0, 200), rng.randint(-(2**63), 2**63 - 1)])
        if isinstance(current, float):
            return rng.choice([current, rng.random(), rng.uniform(0, 100), math.nan, math.inf, -1e308])
        return rng.choice(
            ["", " ", "topk", "runs", "raw", "auto", "x" * 5000, "<active>", "ünï\0cøde", current]
        )
    return rng.choice([None, True, 0, 1.5, "text", [1, 2], ["a"], [0.5], [True], [b"\x01"]])
