#!/usr/bin/env python3
"""Test whether joint denoising of slots helps, with rivals trained on one vision tower and budget.

    python -m stride_ros.benchmark.joint_or_per_frame --world late --out runs --report docs/quality.md

For each seed, a joint model and a per-frame model (a window of one slot, trained on all events) start from
the same weights and see the same number of batches with the same number of tokens. The per-frame model is
judged at a threshold of one half, at the best threshold for the judged clips, and with a median over three
frames. Further variants show what the joint model loses without one of its parts: mask modes, the second copy
of the window. Finished training and measurements are not repeated, so that runs can be stopped, or split with
`--variants` among processes.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stride_ros.activation.model import ActivationModel
from stride_ros.evaluation.detectors import Detection, NewestSlot, Session, active_runs
from stride_ros.evaluation.metrics import Tally
from stride_ros.evaluation.report import COLUMNS, replace_section, table
from stride_ros.evaluation.world import Clip, clips
from stride_ros.terminal import Progress
from stride_ros.training.tiny.recipe import Recipe, make
from stride_ros.world.story import WorldConfig
from stride_ros.world.vocabulary import DARK, HAND, ON_TABLE, TAKEN, query_for
from stride_ros.world.world import USUAL

HALF = 0.5
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, HALF, 0.6, 0.7, 0.8, 0.9)
MEDIANS = (1, 3)

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A world for the comparison: `asked` is watched in every clip, and also counted separately."""

    section: str
    world: WorldConfig
    recipe: dict[str, Any] = field(default_factory=dict)
    asked: str = ""


SETTINGS = {
    "usual": Setting("variants", USUAL),
    "late": Setting(  # with few objects, since telling them apart is not the question and takes long to learn
        "late",
        WorldConfig(
            colours=("red", "green", "blue"),
            shapes=("ball", "box"),
            kinds=(ON_TABLE, TAKEN, HAND, DARK),
            lanes=2,
        ),
        {"sentences": 0, "unsettled": (0.8, 4.5)},
        query_for(TAKEN, ""),
    ),
}


@dataclass(frozen=True)
class Variant:
    """A kind of model: the differences in its recipe, and the number of seeds it is trained with."""

    title: str
    recipe: dict[str, Any] = field(default_factory=dict)
    seeds: int | None = None


JOINT, PER_FRAME = "joint", "per-frame"
VARIANTS = {
    JOINT: Variant("joint: 16 slots denoised together"),
    PER_FRAME: Variant("per frame: 1 slot", {"window": 1, "mask_modes": (1,)}),
    "independent": Variant("joint, masked slots drawn independently", {"mask_modes": (0,)}, seeds=1),
    "mode1": Variant("joint, mask mode 1 alone (all masked)", {"mask_modes": (1,)}, seeds=1),
    "mode2": Variant("joint, mask mode 2 alone (boundary-aware)", {"mask_modes": (2,)}, seeds=1),
    "mode3": Variant("joint, mask mode 3 alone (span and scatter)", {"mask_modes": (3,)}, seeds=1),
    "single": Variant("joint, window written once", {"single_sequence": True}, seeds=1),
}


def way(threshold: float, median: int) -> str:
    """The name of a way to use a per-frame model."""
    return f"threshold {threshold:g}" + (f", median of {median}" if median > 1 else "")


def decisions(model: ActivationModel, clip: Clip) -> Iterator[tuple[str, str, Detection]]:
    """Yield (way, query, detection).

    A live session has one way, the empty name; a window of one slot has no spans of its own, and one way for
    each threshold and median.
    """
    if model.past > 1:
        found = Session(model).watch(clip.frames, clip.times, clip.queries)
        yield from (("", query, detection) for query, detection in zip(clip.queries, found, strict=True))
        return
    values = NewestSlot(model).probabilities(clip.frames, clip.times, clip.queries)
    for query, active in zip(clip.queries, values, strict=True):
        for threshold in THRESHOLDS:
            for median in MEDIANS:
                yield way(threshold, median), query, active_runs(active, clip.times, threshold, median)


def measured(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Metrics]]:
    """Metrics by way and by counted queries ("all", "asked", "others"); stored next to the checkpoint."""
    file = folder / f"quality-{options.eval_seed}-{options.clips}.json"
    if not file.is_file():
        setting = SETTINGS[options.world]
        model = ActivationModel.load(folder, device="cpu")
        tallies: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
        with Progress(folder.name, options.clips, "clips") as progress:
            always = (setting.asked,) if setting.asked else ()
            data = clips(
                options.eval_seed, options.clips, options.queries, config=setting.world, always=always
            )
            for done, clip in enumerate(data, 1):
                for name, query, detection in decisions(model, clip):
                    for group in ("all", "asked" if query == setting.asked else "others"):
                        tallies[name][group].add(clip.outcome(query, detection))
                progress.update(done)
        result = {
            name: {group: tally.metrics() | {"events": tally.events} for group, tally in groups.items()}
            for name, groups in tallies.items()
        }
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    stored: dict[str, dict[str, dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return stored


def trained(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Folder of the variant's checkpoint with this seed."""
    folder: Path = options.out / f"{name}-{seed}"
    if not (folder / "done").is_file():
        setting = SETTINGS[options.world]
        recipe = Recipe(**setting.recipe | VARIANTS[name].recipe, world=setting.world, seed=seed)

        def say(text: str) -> None:
            print(f"{folder.name} {text}", flush=True)

        make(folder, recipe, options.cache, options.vision, say)
        (folder / "done").touch()
    return folder


def f1(result: dict[str, Metrics], group: str = "all") -> float:
    """Span F1 at an overlap of one half."""
    return float(result[group]["span_f1_50"])


def best_threshold(results: list[dict[str, dict[str, Metrics]]], median: int) -> float:
    """The threshold with the best mean span F1@.5 on the judged clips.

    This favours the per-frame model over any threshold chosen beforehand.
    """
    means = [np.mean([f1(result[way(threshold, median)]) for result in results]) for threshold in THRESHOLDS]
    return THRESHOLDS[int(np.argmax(means))]


def rows_of(name: str, results: list[dict[str, dict[str, Metrics]]]) -> dict[str, list[dict[str, Metrics]]]:
    """Results of each seed for every row that a variant has in the table."""
    title = VARIANTS[name].title
    if name != PER_FRAME:
        return {title: [result[""] for result in results]}
    rows = {}
    for median in MEDIANS:
        after = f", median of {median}" if median > 1 else ""
        best = best_threshold(results, median)
        rows[f"{title}{after}"] = [result[way(HALF, median)] for result in results]
        rows[f"{title}{after}, threshold {best:g} (best here)"] = [
            result[way(best, median)] for result in results
        ]
    return rows


def spread(values: list[float | None]) -> str:
    """Mean, with the smallest and the largest value if there are several."""
    numbers = [float("nan") if value is None else value for value in values]
    mean = f"{np.mean(numbers):.2f}"
    return f"{mean} ({min(numbers):.2f} to {max(numbers):.2f})" if len(numbers) > 1 else mean


def page(rows: dict[str, list[dict[str, Metrics]]], options: argparse.Namespace) -> list[str]:
    """The section of the report: the conditions, the table, and the margins of the joint model."""
    setting = SETTINGS[options.world]
    columns = dict(COLUMNS)
    cells = {
        title: {key: spread([result["all"][key] for result in results]) for key in COLUMNS}
        for title, results in rows.items()
    }
    events = next(iter(rows.values()))[0]["all"]["events"]
    lines = [
        f"{options.clips} held-out clips of 60 s (seed {options.eval_seed}), {options.queries} queries "
        f"watched in each, {events} events. Mean over training seeds "
        f"{', '.join(map(str, options.seeds))}, with the smallest and largest value in parentheses; "
        f"rows without a range are seed {options.seeds[0]} alone."
    ]
    if setting.asked:
        asked = next(iter(rows.values()))[0]["asked"]["events"]
        lines[0] += f' In {asked} of the events the query is "{setting.asked}"'
        extra = {"asked": "F1@.5 of that query", "others": "F1@.5 of the others"}
        columns = {**dict(list(columns.items())[:3]), **extra, **dict(list(columns.items())[3:])}
        for title, results in rows.items():
            cells[title] |= {group: spread([f1(result, group) for result in results]) for group in extra}
    lines += ["", *table(cells, columns), ""]
    joint = rows.get(VARIANTS[JOINT].title, [])
    for title, results in rows.items():
        if joint and title.startswith(VARIANTS[PER_FRAME].title):
            margins = [f1(a) - f1(b) for a, b in zip(joint, results, strict=True)]
            by_seed = ", ".join(f"{margin:+.3f}" for margin in margins)
            lines.append(f"- Margin of joint in F1@.5 over {title}: {np.mean(margins):+.3f} ({by_seed})")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="keeps checkpoints and numbers")
    parser.add_argument(
        "--world",
        choices=SETTINGS,
        default="usual",
        help="late: with an event that is known to be one only when it is nearly over",
    )
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
    rows: dict[str, list[dict[str, Metrics]]] = {}
    for name in options.variants:
        seeds = options.seeds[: VARIANTS[name].seeds]
        rows |= rows_of(name, [measured(trained(name, seed, options), options) for seed in seeds])
    text = "\n".join(page(rows, options))
    print(text)
    if options.report:
        replace_section(options.report, SETTINGS[options.world].section, text)


if __name__ == "__main__":
    main()
