"""`stride-ros doctor`: report what this machine would use, and whether models, cameras and queries fit."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.terminal import Style, say, tell_notes
from stride_ros.text.wording import counted
from stride_ros.user_files.output import refuse_same_files, write_whole
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.doctor.fit import Plan

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_GB = 1e9  # bytes
_MOST = 1000  # cameras, queries


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check what this machine would use, and whether models, cameras and queries fit",
        description="Report what would be used here, and whether models, cameras and queries fit into "
        "memory. Nothing is loaded or downloaded: a checkpoint's config.json is enough. Exit code 1 "
        "means that they do not fit.",
    )
    parser.add_argument("--model", help="activation model: directory, published name or stride-tiny")
    parser.add_argument(
        "--responder",
        help="responder model: directory, published name, stride-tiny, or none (a server elsewhere)",
    )
    parser.add_argument("--image", default="640x480", metavar="WxH", help="size of the cameras' images (px)")
    parser.add_argument("--cameras", type=int, default=1, help="number of cameras (default 1)")
    parser.add_argument("--queries", type=int, default=1, help="queries on each camera (default 1)")
    parser.add_argument(
        "--memory",
        metavar="BYTES",
        help="plan for a GPU with this memory, such as 24GiB, instead of for this machine",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the models run (default auto)",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="number type of both models (default: bfloat16 on a GPU, float32 on a CPU)",
    )
    parser.add_argument("--params-file", type=path_argument, help="parameters of the nodes (YAML)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter, as for replay"
    )
    parser.add_argument("--json", type=path_argument, metavar="FILE", help="also write the figures as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; return 0 if everything fits, otherwise 1."""
    from stride_ros.doctor import machine
    from stride_ros.doctor.fit import fitting

    refuse_same_files({"--json": arguments.json}, {"--params-file": arguments.params_file})
    device, total, free = _memory(arguments)
    plan = _plan(arguments, device)
    limit = total if arguments.memory else free
    fits = plan.total <= limit
    settings = [] if fits else fitting(plan, limit)
    libraries = machine.libraries()
    document = {
        "schema": "stride_ros/doctor/1",
        "machine": {
            "python": machine.python(),
            "ros": machine.ros(),
            "device": device,
            "planned": bool(arguments.memory),
            "libraries": [vars(library) for library in libraries],
        },
        "plan": _described(plan),
        "bytes": {
            "activation": vars(plan.activation_stage),
            "responder": vars(plan.responder_stage),
            "runtime": plan.runtime,
            "needed": plan.total,
            "memory": total,
            "free": limit,
        },
        "fits": fits,
        "settings": settings,
    }
    _print(document, plan)
    if plan.rate_note:
        tell_notes([plan.rate_note])
    if arguments.json is not None:
        write_whole(arguments.json, json.dumps(document, indent=1) + "\n")
    return 0 if fits else 1


def _plan(arguments: argparse.Namespace, device: str) -> Plan:
    import torch

    from stride_ros.doctor.fit import Plan
    from stride_ros.doctor.responder import NONE
    from stride_ros.parameters.activation import DEFAULT_MODEL
    from stride_ros.parameters.tuning import read_tuning
    from stride_ros.qwen3_vl.device import choose_dtype

    tuning = read_tuning(arguments.params_file, arguments.set)
    tell_notes(tuning.notes)
    backend = tuning.backend
    spoken = NONE if backend.kind == "openai" else backend.model
    asked = tuning.given.get("queries") or ()
    size = _SIZE.fullmatch(arguments.image)
    if size is None or not all(32 <= int(side) <= 16384 for side in size.groups()):
        raise ConfigError(f"--image is {arguments.image!r}; write width x height in px, such as 1280x720.")
    for name in ("cameras", "queries"):
        if not 1 <= getattr(arguments, name) <= _MOST:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; use 1 to {_MOST}.")

    def dtype(given: Any) -> torch.dtype:
        chosen = arguments.dtype or str(given)
        if chosen == "auto":
            return torch.float32 if device == "cpu" else torch.bfloat16
        return choose_dtype(chosen, torch.device("cpu"))

    return Plan(
        model=arguments.model or tuning.given.get("model", DEFAULT_MODEL),
        responder=arguments.responder or spoken,
        config=tuning.config,
        response=tuning.response,
        backend=backend,
        size=(int(size[2]), int(size[1])),
        cameras=arguments.cameras,
        queries=max(arguments.queries, len(asked)),
        device=device,
        dtype=dtype(tuning.given.get("dtype", "auto")),
        responder_dtype=dtype(backend.dtype),
        rate=tuning.given.get("rate", 1.0),
    )


def _memory(arguments: argparse.Namespace) -> tuple[str, int, int]:
    """The device to plan for, and its total and free memory in bytes."""
    import torch

    from stride_ros.doctor.machine import device_memory

    if arguments.memory:
        match = _MEMORY.fullmatch(arguments.memory.strip())
        size = float(match[1]) * _UNITS[(match[2] or "").lower()] if match else 0
        if size < 1 << 20:  # a bare 24 is 24 bytes
            raise ConfigError(f"--memory is {arguments.memory!r}; write a size such as 24GiB or 24GB.")
        return ("cpu" if arguments.device == "cpu" else "cuda"), int(size), int(size)
    has_gpu = torch.cuda.is_available()
    if arguments.device == "cuda" and not has_gpu:
        raise ConfigError(
            "PyTorch sees no CUDA device here; set --memory to the memory of the GPU to plan for."
        )
    device = "cuda" if has_gpu and arguments.device != "cpu" else "cpu"
    return device, *device_memory(device)


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "model": plan.model,
        "responder": plan.responder,
        "image": f"{plan.size[1]}x{plan.size[0]}",
        "cameras": plan.cameras,
        "queries": plan.queries,
        "max_frames": plan.config.max_frames,
        "frame_max_tokens": plan.config.frame_max_tokens,
        "dtype": str(plan.dtype).removeprefix("torch."),
        "responder_dtype": str(plan.responder_dtype).removeprefix("torch."),
    }


def _print(document: dict[str, Any], plan: Plan) -> None:
    style = Style(sys.stdout)
    about, sizes = document["machine"], document["bytes"]
    say(style("This machine", "bold"))
    say(f"  Python     {about['python']}", hang=13)
    say(f"  ROS 2      {about['ros']}", hang=13)
    wrong = [library for library in about["libraries"] if not library["fits"]]
    for library in wrong:
        have = library["version"] or "not installed"
        say(f"  {library['name']:<10} {have}, wanted {library['wanted']}", "yellow", hang=13)
    if about["libraries"] and not wrong:
        say(f"  libraries  all {len(about['libraries'])} within their ranges", hang=13)
    unit = "CPU" if about["device"] == "cpu" else "GPU"
    have = f"{_size(sizes['free'])} of {_size(sizes['memory'])} free"
    where = f"planned for a {unit} with {_size(sizes['memory'])}" if about["planned"] else f"{unit}, {have}"
    say(f"  device     {where}", hang=13)
    say("")
    say(style("Memory at its peak", "bold"))
    cameras = f"{counted(plan.cameras, 'camera')} of {plan.size[1]}x{plan.size[0]}"
    queries = counted(plan.queries, "query", "queries")
    each = " each" if plan.cameras > 1 else ""
    watched = f"{cameras}, {queries}{each}, {counted(plan.config.max_frames, 'frame')} in context"
    stages = (("activation", watched, plan.model), ("responder", "the longest answer", plan.responder))
    for name, what, model in stages:
        stage = sizes[name]
        if not stage["weights"]:
            continue
        say(f"  {_size(stage['weights']):>9}  {name}: weights of {model}", hang=13)
        say(f"  {_size(stage['state']):>9}  {name}: {what}", hang=13)
        say(f"  {_size(stage['working']):>9}  {name}: working memory (estimate)", hang=13)
    say(f"  {_size(sizes['runtime']):>9}  libraries (estimate)", hang=13)
    say(f"  {_size(sizes['needed']):>9}  together", "bold", hang=13)
    say("")
    if document["fits"]:
        say(f"It fits. {_size(sizes['free'] - sizes['needed'])} are left.", "green")
        return
    say(f"It does not fit. {_size(sizes['needed'] - sizes['free'])} are missing.", "red")
    for settings in document["settings"]:
        say(f"  It fits with {', '.join(f'{name} {value}' for name, value in settings.items())}.", hang=2)
    if any(settings.get("responder") == "none" for settings in document["settings"]):
        say("  responder none: the responder asks a server elsewhere (backend openai).", "dim", hang=2)
    if not document["settings"]:
        say("  No setting makes it fit; use fewer cameras or queries, or a smaller model.", hang=2)


def _size(count: int) -> str:
    return f"{count / _GB:.2f} GB" if count >= _GB / 10 else f"{count / 1e6:.1f} MB"
