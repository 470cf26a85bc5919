#!/usr/bin/env python3
"""Does it help to denoise a window of slots together? Trains rivals with one vision tower and one budget.

    python benchmarks/joint_or_per_frame.py --out runs --seeds 0 1 2 --report docs/quality.md

For each seed a joint model and a per-frame model (a window of one slot, told every event) start from the same
weights and see the same number of batches of the same number of tokens; the per-frame model also gets a
median over three frames. Then what the joint model loses without one of its parts: mask modes, the second
copy of the window. What is trained or measured already is not done again, so that runs may be stopped, or
shared out by `--variants` among processes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stride_ros.activation.model import ActivationModel
from stride_ros.evaluation.detectors import Detector, NewestSlot, Session
from stride_ros.evaluation.report import COLUMNS, replace_section, table
from stride_ros.evaluation.world import clips, score
from stride_ros.terminal import Progress
from stride_ros.training.tiny.recipe import Recipe, make


@dataclass(frozen=True)
class Variant:
    """A kind of model: what differs in its recipe, and how many of the seeds it is trained with."""

    title: str
    recipe: dict[str, Any] = field(default_factory=dict)
    seeds: int | None = None


VARIANTS = {
    "joint": Variant("joint: 16 slots denoised together"),
    "per-frame": Variant("per frame: 1 slot", {"window": 1, "mask_modes": (1,)}),
    "independent": Variant("joint, masked slots drawn independently", {"mask_modes": (0,)}, seeds=1),
    "mode1": Variant("joint, mask mode 1 alone (all masked)", {"mask_modes": (1,)}, seeds=1),
    "mode2": Variant("joint, mask mode 2 alone (boundary-aware)", {"mask_modes": (2,)}, seeds=1),
    "mode3": Variant("joint, mask mode 3 alone (span and scatter)", {"mask_modes": (3,)}, seeds=1),
    "single": Variant("joint, window written once", {"single_sequence": True}, seeds=1),
}


def detectors(model: ActivationModel) -> dict[str, Detector]:
    """Ways to use a model: a live session, or for a window of one slot decisions frame by frame."""
    if model.past > 1:
        return {"": Session(model)}
    return {"": NewestSlot(model), ", median of 3": NewestSlot(model, smoothing=3)}


def measured(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Metrics of each way to use the checkpoint in `folder`; kept beside it."""
    file = folder / f"quality-{options.eval_seed}-{options.clips}.json"
    if not file.is_file():
        result = {}
        for name, detector in detectors(ActivationModel.load(folder, device="cpu")).items():
            with Progress(f"{folder.name}{name}", options.clips, "clips") as progress:
                data = clips(options.eval_seed, options.clips, options.queries)
                result[name] = score(detector, data, report=progress.update).metrics()
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def trained(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Folder of the variant's checkpoint with this seed."""
    folder = options.out / f"{name}-{seed}"
    if not (folder / "done").is_file():
        recipe = Recipe(**VARIANTS[name].recipe, seed=seed)

        def say(text: str) -> None:
            print(f"{folder.name} {text}", flush=True)

        make(folder, recipe, options.cache, options.vision, say)
        (folder / "done").touch()
    return folder


def row(results: list[dict[str, Any]]) -> dict[str, str]:
    """Mean of each metric over the seeds, with the least and the largest value where there are several."""
    cells = {}
    for key in COLUMNS:
        values = [float("nan") if result[key] is None else result[key] for result in results]
        cells[key] = f"{np.mean(values):.2f}"
        if len(values) > 1:
            cells[key] += f" ({min(values):.2f} to {max(values):.2f})"
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="keeps checkpoints and numbers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        "--vision", type=Path, default=Path("models/stride-tiny"), help="whose vision tower all take"
    )
    parser.add_argument("--cache", type=Path, help="keeps rendered clips")
    parser.add_argument("--clips", type=int, default=60, help="held-out clips of 60 s to judge on")
    parser.add_argument("--queries", type=int, default=4, help="watched in each clip, one of them never met")
    parser.add_argument("--eval-seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the table into this page")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: dict[str, dict[str, str]] = {}
    for name in options.variants:
        variant = VARIANTS[name]
        results: dict[str, list[dict[str, Any]]] = {}
        for seed in options.seeds[: variant.seeds]:
            for way, metrics in measured(trained(name, seed, options), options).items():
                results.setdefault(f"{variant.title}{way}", []).append(metrics)
        rows |= {title: row(values) for title, values in results.items()}
    lines = [
        f"{options.clips} held-out clips of 60 s (seed {options.eval_seed}), {options.queries} queries "
        f"watched in each. Mean over training seeds {', '.join(map(str, options.seeds))}, the least and the "
        f"largest value behind it; rows without them are seed {options.seeds[0]} alone.",
        "",
        *table(rows),
    ]
    print("\n".join(lines))
    if options.report:
        replace_section(options.report, "variants", "\n".join(lines))


if __name__ == "__main__":
    main()
