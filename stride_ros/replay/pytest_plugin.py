"""Pytest fixtures for recordings. In conftest.py: `pytest_plugins = ["stride_ros.replay.pytest_plugin"]`.

    def test_the_robot_tells_of_visitors(replay_bag):
        result = replay_bag("drives/lobby", expect="drives/lobby.spans.yaml")
        assert result.ok, result.table

The model is loaded once for all tests; the command line option `--stride-model` chooses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from stride_ros.process.threads import AUTO, prepare_process

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.replay.api import Replay

prepare_process()  # plugins are loaded before the tests that import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stride-model", default="stride-tiny", help="model of replay_bag: a name or a folder")


@pytest.fixture(scope="session")
def stride_model(request: pytest.FixtureRequest) -> ActivationModel:
    """The activation model of `--stride-model`, loaded once."""
    from stride_ros.activation.model import ActivationModel

    return ActivationModel.load(request.config.getoption("--stride-model"), threads=AUTO)


@pytest.fixture
def replay_bag(stride_model: ActivationModel) -> Callable[..., Replay]:
    """`stride_ros.replay.replay` with the model already loaded."""
    from stride_ros.replay.api import replay

    def play(bag: Any, query: Any = None, **options: Any) -> Replay:
        return replay(bag, query, **{"model": stride_model, **options})

    return play
