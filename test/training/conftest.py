"""Small checkpoints, bags and labels for the training tests."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A random activation checkpoint whose frames cost at most two tokens."""
    from stride_ros.training.checkpoint import create_checkpoint

    return create_checkpoint(tmp_path_factory.mktemp("model") / "random", window=8, frame_max_tokens=2)


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory):
    """A random Qwen3-VL that knows nothing of activation."""
    from stride_ros.training.checkpoint import create_checkpoint

    return create_checkpoint(tmp_path_factory.mktemp("model") / "plain", activation_tokens=False)


@pytest.fixture(scope="session")
def bag(tmp_path_factory):
    """A bag of 24 s at 2 Hz with raw images on /camera/image_raw; the picture is red from 8 s to 14 s."""
    from stride_ros.bags import messages
    from stride_ros.bags.writer import BagWriter

    path = tmp_path_factory.mktemp("bag") / "robot"
    with BagWriter(path, "mcap") as writer:
        for index in range(48):
            time = index / 2
            frame = np.full((48, 64, 3), (200, 20, 20) if 8 <= time <= 14 else (90, 90, 90), np.uint8)
            stamp = 1_700_000_000 * 10**9 + int(time * 1e9)
            writer.write("/camera/image_raw", messages.image(frame, stamp, "camera"), stamp)
    return path


@pytest.fixture
def labels(tmp_path):
    """A function that writes a labels file."""

    def write(text):
        path = tmp_path / "labels.yaml"
        path.write_text(text)
        return path

    return write
