"""Golden data, small models and frames for the tests of the activation stage."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from stride_ros.activation.model import ActivationModel

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


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """A function that makes a random model: make_model(window=..., single_sequence=..., seed=...)."""
    from stride_ros.training.checkpoint import create_checkpoint

    made: dict[tuple, ActivationModel] = {}

    def make(**options) -> ActivationModel:
        key = tuple(sorted(options.items()))
        if key not in made:
            folder = create_checkpoint(tmp_path_factory.mktemp("model"), **options)
            # Freshly initialised weights answer the same for every slot; spread the answers out.
            weights = load_file(folder / "model.safetensors")
            generator = torch.Generator().manual_seed(options.get("seed", 0))
            vocabulary, width = weights["model.language_model.embed_tokens.weight"].shape
            weights["lm_head.weight"] = torch.randn(vocabulary, width, generator=generator)
            for name, value in weights.items():
                if value.ndim == 2 and "language_model.layers" in name:
                    weights[name] = torch.randn(value.shape, generator=generator) * value.shape[1] ** -0.5
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
            made[key] = ActivationModel.load(folder, device="cpu", dtype="float32")
        return made[key]

    return make


class HostReads(TorchFunctionMode):
    """Counts what makes the host wait for a GPU: values that are read from tensors."""

    READS = frozenset(
        ["cpu", "item", "tolist", "nonzero", "is_nonzero", "__bool__", "__int__", "__float__", "__index__"]
    )

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += getattr(func, "__name__", "") in self.READS
        return func(*args, **(kwargs or {}))


class Rerun:
    """Records work by keeping it: on a CPU, what a CUDA graph is on a GPU. Counts recordings and replays.

    As in a graph, the host cannot read values in between.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self.recorded = self.replayed = 0

    def record(self, work):
        self.recorded += 1
        self._run(work)

        def replay() -> None:
            self.replayed += 1
            self._run(work)

        return replay

    def _run(self, work) -> None:
        with HostReads() as reads:
            work()
        assert not reads.count, "what is captured waits for the device"


@pytest.fixture
def host_reads() -> HostReads:
    """Counts, in a `with` block, how often the host waits for values of tensors."""
    return HostReads()


@pytest.fixture
def rerun() -> Rerun:
    """A recorder for slot passes that works on a CPU."""
    return Rerun()


@pytest.fixture(scope="session")
def make_frames():
    """A function that makes `count` random frames of `size` (height, width)."""

    def make(count: int, size: tuple[int, int] = (64, 64), seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)

    return make
