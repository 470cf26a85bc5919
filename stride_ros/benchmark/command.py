"""`stride-ros benchmark`: measure the time of a tick, and how much work the streaming engine avoids."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import add_threads_option, use_threads
from stride_ros.terminal import say
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.output import refuse_same_files, write_whole
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.benchmark.measure import Settings

DESCRIPTION = """Time the activation stage on this machine, tick by tick with the context full, and compare it
with a full forward per pass (recompute) and a prefill per decision (rebuild) on the same frames and weights;
with --cameras, compare one engine for all cameras and queries with a session for each. Exits with 1 when a
label differs."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser("benchmark", help="time the activation stage", description=DESCRIPTION)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--preset",
        choices=("small", "vision", "2b", "4b"),
        default="small",
        help="model sizes, with random weights (default small)",
    )
    which.add_argument(
        "--model", metavar="M", help="use a checkpoint instead: directory, stride-tiny or repo id"
    )
    which.add_argument(
        "--responder", metavar="M", help="time the responder node with this image-text model instead"
    )
    parser.add_argument("--window", type=int, default=32, metavar="W", help="slots of a preset (default 32)")
    parser.add_argument(
        "--frames", type=int, default=128, metavar="N", help="frames in context (default 128)"
    )
    parser.add_argument(
        "--drop", type=int, metavar="N", help="frames that leave the context at a shift (default half)"
    )
    parser.add_argument(
        "--tokens", type=int, default=256, metavar="N", help="maximum tokens in a frame pair (256)"
    )
    parser.add_argument("--steps", type=int, default=8, metavar="K", help="denoising steps (default 8)")
    parser.add_argument(
        "--queries", type=int, default=1, metavar="N", help="queries on each stream (default 1)"
    )
    parser.add_argument(
        "--cameras",
        type=int,
        metavar="N",
        help="number of cameras to serve with one engine, and alternately with a session for each query of "
        "each camera (on one thread, unless --threads has a number)",
    )
    parser.add_argument("--ticks", type=int, default=40, metavar="N", help="ticks to measure (default 40)")
    parser.add_argument(
        "--reference-ticks",
        type=int,
        default=1,
        metavar="N",
        help="ticks of each reference method, 0 for none (default 1)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="denoise all slots at every tick, the worst case"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default auto)")
    parser.add_argument(
        "--no-cuda-graphs",
        dest="cuda_graphs",
        action="store_false",
        help="on a CUDA device, launch each kernel",
    )
    add_threads_option(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of frames and weights (default 0)")
    parser.add_argument("--json", type=path_argument, metavar="FILE", help="write all numbers as JSON")
    parser.add_argument(
        "--picture", type=path_argument, metavar="FILE", help="draw the ticks, for example benchmark.png"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print a table, and write the requested files."""
    refuse_same_files({"--json": arguments.json, "--picture": arguments.picture}, {})
    if arguments.responder:
        if arguments.cameras is not None:
            raise ConfigError("--cameras times the activation stage; leave out --responder.")
        from stride_ros.benchmark.responder import run as time_responder

        return time_responder(arguments)
    settings = _settings(arguments)
    if arguments.cameras is not None:
        return _compare_cameras(arguments, settings)
    from stride_ros.benchmark.measure import REFERENCES, WARM_UP, measure
    from stride_ros.terminal import Progress

    model = _model(arguments)
    use_threads(model.threads)  # the references too
    streams = 1 + (len(REFERENCES) if settings.reference_ticks else 0)
    frames = streams * (settings.frames + settings.ticks + WARM_UP)
    with Progress("Measuring", frames, "frame") as progress:
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress.update(done)

        numbers = measure(model, settings, step)

    report = {**_conditions(model, settings), **numbers}
    say(table(report))
    _write(arguments, report)
    return 0 if report["labels_equal"] else 1


def _compare_cameras(arguments: argparse.Namespace, settings: Settings) -> int:
    """Compare all cameras and queries in one engine with sessions."""
    from stride_ros.benchmark.cameras import camera_table, measure_cameras, ticks_of
    from stride_ros.terminal import Progress

    arguments.threads = arguments.threads or 1  # CPU time of waiting threads tells little
    model = _model(arguments)
    with Progress("Measuring", ticks_of(settings), "tick") as progress:
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress.update(done)

        numbers = measure_cameras(model, settings, arguments.cameras, step)
    report = {**_conditions(model, settings), **numbers}
    say(camera_table(report))
    _write(arguments, report)
    return 0 if report["labels_equal"] else 1


def _conditions(model: ActivationModel, settings: Settings) -> dict[str, Any]:
    """The conditions of the measurement, for the report."""
    return {
        "model": model.name,
        "device": _device_name(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "threads": model.threads,
        "window": model.window,
        "settings": asdict(settings),
    }


def _write(arguments: argparse.Namespace, report: dict[str, Any]) -> None:
    """Write the requested files."""
    if arguments.json:
        write_whole(arguments.json, json.dumps(report, indent=2) + "\n")
    if arguments.picture:
        from stride_ros.benchmark.picture import draw

        draw(report, arguments.picture)


def _settings(arguments: argparse.Namespace) -> Settings:
    from stride_ros.benchmark.measure import QUERIES, Settings

    least = {"window": 1, "ticks": 1, "reference_ticks": 0, "queries": 1, "cameras": 1, "seed": 0}
    for name, low in least.items():
        if getattr(arguments, name) is not None and getattr(arguments, name) < low:
            raise ConfigError(
                f"--{name.replace('_', '-')} is {getattr(arguments, name)}; use at least {low}."
            )
    if arguments.queries > len(QUERIES):
        raise ConfigError(f"--queries is {arguments.queries}; use at most {len(QUERIES)}.")
    for path in (arguments.json, arguments.picture):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"Folder {path.absolute().parent} does not exist; create it first.")
    settings = Settings(
        frames=arguments.frames,
        drop=arguments.drop or max(2, arguments.frames // 2),
        tokens=arguments.tokens,
        steps=arguments.steps,
        queries=arguments.queries,
        ticks=arguments.ticks,
        reference_ticks=arguments.reference_ticks,
        fresh=arguments.fresh,
        seed=arguments.seed,
        cuda_graphs=arguments.cuda_graphs,
    )
    settings.config()  # checked before a model is created
    return settings


def _model(arguments: argparse.Namespace) -> ActivationModel:
    if arguments.model:
        from stride_ros.activation.model import ActivationModel

        return ActivationModel.load(arguments.model, arguments.device, arguments.dtype, arguments.threads)
    from stride_ros.activation.random_model import random_model
    from stride_ros.benchmark.measure import QUERIES
    from stride_ros.benchmark.presets import architecture
    from stride_ros.training.tokenizer import build_tokenizer

    return random_model(
        architecture(arguments.preset, arguments.window),
        build_tokenizer(QUERIES),
        arguments.preset,
        seed=arguments.seed,
        device=arguments.device,
        dtype=arguments.dtype,
        threads=arguments.threads,
    )


def _device_name(model: ActivationModel) -> str:
    if model.device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(model.device)
    return model.device.type


def table(report: dict[str, Any]) -> str:
    """Format the numbers of a report for a terminal."""
    from stride_ros.benchmark.measure import PARTS, REFERENCES

    settings, mebi = report["settings"], 2**20
    columns = [("engine", "", _row(report, ""))]
    columns += [
        (name, f"{report[f'speedup_vs_{name}']:.1f} x", _row(report, f"{name}_"))
        for name in REFERENCES
        if f"speedup_vs_{name}" in report
    ]
    lines = [
        f"{report['model']} on {report['device']} ({report['dtype']}, "
        f"{counted(report['threads'], 'thread')}): window {report['window']}, "
        f"{counted(settings['frames'], 'frame')}, {counted(settings['queries'], 'query', 'queries')}, "
        f"{report['passes']:g} {plural(report['passes'], 'pass', 'passes')} a tick, "
        f"CUDA graphs: {report['cuda_graphs'] or 'none'}",
        f"{'median ms':<14}" + "".join(f"{name:>12}" for name, _, _ in columns),
    ]
    for i, part in enumerate(("tick", *PARTS)):
        lines.append(f"{part:<14}" + "".join(f"{values[i]:>12.1f}" for _, _, values in columns))
    if len(columns) > 1:
        lines.append(f"{'the engine is':<14}" + "".join(f"{faster:>12}" for _, faster, _ in columns))
    lines.append(f"p95 {report['tick_p95_ms']:.1f} ms, worst tick {report['tick_worst_ms']:.1f} ms")
    memory = [("weights", "weights_bytes"), ("stream", "state_bytes"), ("peak", "peak_memory_bytes")]
    lines.append("memory: " + ", ".join(f"{name} {report[key] / mebi:.0f} MiB" for name, key in memory))
    if settings["reference_ticks"]:
        lines.append("labels equal: " + ("yes" if report["labels_equal"] else "NO"))
    return "\n".join(lines)


def _row(report: dict[str, Any], prefix: str) -> list[float]:
    return [
        report[f"{prefix}tick_ms"],
        *(part["median"] for part in report[f"{prefix}parts_ms"].values()),
    ]
