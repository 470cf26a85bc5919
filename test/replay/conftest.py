"""A small bag and a small model that the replay tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")

QUERY = "Tell me when a red box is on the table."
BASE = 1_700_000_000 * 10**9  # ns


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint that happens to decide on several spans in `world_bag`."""
    from stride_ros.training.checkpoint import create_checkpoint

    return create_checkpoint(tmp_path_factory.mktemp("model") / "random", seed=3, window=8)


@pytest.fixture(scope="session")
def model(checkpoint: Path):
    from stride_ros.activation.model import ActivationModel

    return ActivationModel.load(str(checkpoint))


@pytest.fixture(scope="session")
def write_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a bag of raw images from pairs of header and log stamps (s after a fixed time)."""
    from stride_ros.replay import messages
    from stride_ros.replay.bag_writer import BagWriter
    from stride_ros.world import World

    world = World(seed=0, seconds=60, size=(96, 64))

    def write(
        stamps: Sequence[tuple[float | None, float]], storage: str = "mcap", encoding: str = ""
    ) -> Path:
        path = tmp_path_factory.mktemp("bag") / "bag"
        with BagWriter(path, storage) as bag:
            for i, (stamp, logged) in enumerate(stamps):
                time = 0 if stamp is None else BASE + round(stamp * 1e9)
                message = messages.image(world.frame(i % 60), time, "camera")
                if encoding:
                    message.encoding = encoding
                bag.write("/cam", message, BASE + round(logged * 1e9))
        return path

    return write


@pytest.fixture(scope="session")
def world_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s of the world at 5 Hz as JPEGs, with ground truth."""
    from stride_ros.world import World
    from stride_ros.world.recording import write_bag

    path = tmp_path_factory.mktemp("world") / "bag"
    write_bag(World(seed=0, seconds=40, size=(96, 64), fps=5), path)
    return path


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
