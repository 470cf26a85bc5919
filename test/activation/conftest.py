"""Golden data, small models and frames for the tests of the activation stage."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stride_ros.activation.model import ActivationModel

torch.set_num_threads(2)
GOLDEN = Path(os.environ.get("STRIDE_GOLDEN_DIR") or Path(__file__).parents[1] / "golden")


def pytest_generate_tests(metafunc):
    """Parametrise `golden_forward` and `golden_stream` over the cases of that kind in the golden folder."""
    for kind in ("forward", "stream"):
        name = f"golden_{kind}"
        if name in metafunc.fixturenames:
            cases = json.loads((GOLDEN / "cases.json").read_text())
            names = [case for case, content in cases.items() if content["kind"] == kind]
            metafunc.parametrize(name, names, indirect=True)


@pytest.fixture(scope="session")
def golden():
    """The golden folder: cases, arrays, and a function that loads one of its checkpoints (once)."""
    cases = json.loads((GOLDEN / "cases.json").read_text())
    arrays = np.load(GOLDEN / "arrays.npz")
    models: dict[str, ActivationModel] = {}

    def load(name: str) -> ActivationModel:
        if name not in models:
            models[name] = ActivationModel.load(GOLDEN / name, device="cpu", dtype="float32")
        return models[name]

    return SimpleNamespace(folder=GOLDEN, cases=cases, arrays=arrays, load=load)


def _case(golden, name):
    case = golden.cases[name]
    return SimpleNamespace(
        name=name,
        model=golden.load(case["checkpoint"]),
        frames=golden.arrays[f"{name}_frames"],
        folder=golden.folder / case["checkpoint"],
        **case,
    )


@pytest.fixture
def golden_forward(golden, request):
    return _case(golden, request.param)


@pytest.fixture
def golden_stream(golden, request):
    return _case(golden, request.param)
