"""The options of `stride-ros train` for its data, the window and the course of training."""

from __future__ import annotations

import argparse
from typing import Any

from stride_ros.user_files.paths import path_argument
from stride_ros.user_files.values import seconds_argument


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them in three groups."""
    _add_data_options(parser.add_argument_group("data"))
    _add_window_options(parser.add_argument_group("activation window"))
    _add_plan_options(parser.add_argument_group("training"))


def _add_data_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data", choices=("world", "bag", "video", "annotations"), required=True, help="kind of data"
    )
    several: dict[str, Any] = {"type": path_argument, "nargs": "+", "action": "extend"}
    group.add_argument("--bag", **several, help="rosbag2 folders or files (data bag)")
    group.add_argument("--video", **several, metavar="FILE", help="video files (data video)")
    group.add_argument(
        "--image-topic", metavar="TOPIC", help="image topic of the bags (default: the only one)"
    )
    group.add_argument(
        "--labels",
        **several,
        metavar="YAML",
        help="for each bag or video, in the same order, a list of {query, start, end, text}, times in s from "
        "its first image; {query, none: [start, end]} where nothing happens",
    )
    group.add_argument(
        "--annotations", type=path_argument, nargs="+", metavar="JSONL", help="annotation files"
    )
    group.add_argument(
        "--video-root", type=path_argument, metavar="DIR", help="folder of the annotated videos"
    )
    group.add_argument("--clips", type=int, default=100, help="number of clips of the world (default 100)")
    group.add_argument(
        "--world-seed", type=int, default=100_000, help="seed of the first clip of the world (default 100000)"
    )
    group.add_argument(
        "--until",
        type=seconds_argument,
        metavar="S",
        help="use only the first S seconds of each bag or video",
    )
    group.add_argument("--fps", type=float, default=1.0, help="maximum frames per second (default 1)")
    group.add_argument("--max-frames", type=int, default=512, help="maximum frames in a sample (default 512)")
    group.add_argument("--no-sentences", action="store_true", help="do not train sentences")


def _add_window_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--window", type=int, help="number of slots (default: as in the checkpoint, otherwise 32)"
    )
    group.add_argument(
        "--resolution", type=float, help="seconds per slot (default: the checkpoint's, otherwise 1)"
    )
    group.add_argument(
        "--mask-modes",
        type=int,
        nargs="+",
        help="mask modes: 0 independent, 1 full, 2 boundary, 3 span (default 1 2 3)",
    )
    group.add_argument(
        "--single-sequence", action="store_true", default=None, help="write the window once instead of twice"
    )
    group.add_argument("--frame-max-tokens", type=int, help="maximum tokens in a frame pair")


def _add_plan_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--steps", type=int, default=0, help="optimiser steps (default: whole epochs)")
    group.add_argument(
        "--epochs", type=float, default=1.0, help="number of passes through the data (default 1)"
    )
    group.add_argument("--batch-size", type=int, default=8, help="samples per device and step (default 8)")
    group.add_argument("--accumulate", type=int, default=1, help="batches per optimiser step (default 1)")
    group.add_argument(
        "--learning-rate", type=float, default=1e-5, help="learning rate of the language model (default 1e-5)"
    )
    group.add_argument(
        "--embedding-rate",
        type=float,
        help="learning rate of the embeddings (default: 3 times the language model's)",
    )
    group.add_argument(
        "--merger-rate",
        type=float,
        default=0.0,
        help="learning rate of the vision merger (default 0: frozen)",
    )
    group.add_argument(
        "--vision-rate", type=float, default=0.0, help="learning rate of the vision tower (default 0: frozen)"
    )
    group.add_argument(
        "--warmup-steps",
        type=int,
        default=512,
        help="warm-up steps with a rising learning rate (default 512)",
    )
    group.add_argument("--weight-decay", type=float, default=0.0, help="default 0")
    group.add_argument(
        "--text-weight", type=float, default=1.0, help="loss weight of the sentences (default 1)"
    )
    group.add_argument(
        "--save-steps",
        type=int,
        default=0,
        help="steps between checkpoints, of which the last two are kept (default: a tenth of all, from 20 to "
        "1000)",
    )
    group.add_argument("--log-steps", type=int, default=10, help="steps between log lines (default 10)")
    group.add_argument(
        "--workers", type=int, default=0, help="number of processes that load data (default 0)"
    )
    group.add_argument("--seed", type=int, default=0, help="default 0")
    group.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    group.add_argument("--gradient-checkpointing", action="store_true", help="use less memory but more time")
    group.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="number type of the written weights",
    )
    group.add_argument(
        "--no-resume", action="store_true", help="start over even if the folder has checkpoints"
    )
