"""A small bag and a small model that the replay tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")

QUERY = "Tell me when a red box is on the table."


@pytest.fixture(scope="session")
def model(checkpoint: Path):
    from stride_ros.activation.model import ActivationModel

    return ActivationModel.load(str(checkpoint))


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
