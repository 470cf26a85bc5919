"""`stride-ros train`: fine-tune a checkpoint on the world, annotated videos or a robot's own bag."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import add_threads_option, choose_threads, use_threads
from stride_ros.terminal import say
from stride_ros.text.wording import counted, escaped
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.training.sources.recording import Intake, Recording, Video


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "train",
        help="fine-tune a model on your own recordings",
        description="Train the activation model and its sentences; the folder written is a checkpoint for "
        "all commands and nodes. An interrupted run resumes when it is started again. On several GPUs: "
        "accelerate launch -m stride_ros train ...",
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="DIR", help="folder for the trained checkpoint"
    )
    parser.add_argument(
        "--model",
        default="stride-tiny",
        help="checkpoint or Qwen3-VL model to start from (default stride-tiny)",
    )
    _add_data_options(parser.add_argument_group("data"))
    _add_window_options(parser.add_argument_group("activation window"))
    _add_plan_options(parser.add_argument_group("training"))
    add_threads_option(parser)
    parser.set_defaults(run=run)


def _add_data_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data", choices=("world", "bag", "video", "annotations"), required=True, help="kind of data"
    )
    group.add_argument("--bag", type=path_argument, help="rosbag2 folder or file (data bag)")
    group.add_argument("--video", type=path_argument, metavar="FILE", help="one video file (data video)")
    group.add_argument(
        "--image-topic", metavar="TOPIC", help="image topic of the bag (default: the only one)"
    )
    group.add_argument(
        "--labels",
        type=path_argument,
        metavar="YAML",
        help="list of {query, start, end, text}, times in s from the first image",
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
    group.add_argument("--until", type=float, metavar="S", help="use only the first S seconds (bag, video)")
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


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    import numpy as np
    from numpy.lib import NumpyVersion

    if NumpyVersion(np.__version__) < "1.24.0":  # for Hugging Face's trainer; all else runs with 1.21.2
        raise ConfigError(
            f"training needs NumPy 1.24 or newer and this is {np.__version__}; "
            "run `python3 -m pip install 'numpy>=1.24,<2'` in a virtual environment."
        )
    from stride_ros.qwen3_vl.checkpoint import find
    from stride_ros.terminal import tell_notes
    from stride_ros.training.output import check_data, fingerprint, make_folder
    from stride_ros.training.sources.recording import Intake

    # Errors in these are reported before everything that a model needs is loaded.
    make_folder(arguments.out)
    intake = Intake()
    recordings = _recordings(arguments, intake)
    check_data(arguments.out, fingerprint(recordings), not arguments.no_resume)
    find(arguments.model)
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # those of reading and writing weights
    from stride_ros.activation.prompt import Prompt
    from stride_ros.response.qwen3_vl import Qwen3VLPrompt
    from stride_ros.training.advice import command_for_the_rest, notes_on_slots
    from stride_ros.training.dataset import Sampling, StrideDataset, make_samples
    from stride_ros.training.examples import SentenceExamples, WindowExamples
    from stride_ros.training.model import WindowKeys, prepare
    from stride_ros.training.trainer import train

    modes = tuple(arguments.mask_modes) if arguments.mask_modes else None
    keys = WindowKeys(
        arguments.window, arguments.resolution, modes, arguments.single_sequence, arguments.frame_max_tokens
    )
    model, tokenizer = prepare(arguments.model, arguments.out, keys)
    config = model.config
    weights = sum(parameter.numel() for parameter in model.parameters())
    use_threads(choose_threads(arguments.threads, weights, "cuda" if torch.cuda.is_available() else "cpu"))
    windows = WindowExamples(
        Prompt(tokenizer),
        config.trigger_window_past,
        config.trigger_temporal_resolution,
        config.mask_modes,
        1 if config.single_sequence else 2,
        config.frame_max_tokens,
    )
    sentences = SentenceExamples(Qwen3VLPrompt(arguments.out, config, config.frame_max_tokens))
    wanted = arguments.steps * arguments.batch_size * arguments.accumulate
    length = config.trigger_window_past * config.trigger_temporal_resolution
    samples = make_samples(recordings, not arguments.no_sentences, arguments.seed, wanted, length)
    if not samples:
        raise ConfigError(
            "The data gives no samples, since its videos or events are too short; give longer recordings."
        )
    dataset = StrideDataset(
        samples, windows, sentences, Sampling(arguments.fps, arguments.max_frames), arguments.seed
    )
    events = counted(sum(len(recording.events) for recording in recordings), "event")
    pairs = f"{counted(len(recordings), 'pair')} of a query and a recording"
    say(f"{counted(len(samples), 'sample')}, cut around {events} in {pairs}; {intake.summary()}.")
    if arguments.data != "world":
        tell_notes(notes_on_slots(recordings, arguments.fps, config.trigger_temporal_resolution))
    losses = train(model, tokenizer, dataset, _plan(arguments))
    tell_notes(_unusable(recordings))
    if dataset.unreadable:
        tell_notes([f"{counted(dataset.unreadable, 'video')} could not be decoded."])
    say(f"{losses} The model is in {escaped(str(arguments.out))}.".strip())
    if arguments.data in ("bag", "video") and (command := command_for_the_rest(arguments, recordings)):
        say("The loss is about footage that the model has seen. To try it on the rest of the recording:")
        print(f"  {escaped(command)}")  # not wrapped, so that it can be copied
    return 0


def _check(arguments: argparse.Namespace) -> None:
    needed = {
        "world": (),
        "bag": ("bag", "labels"),
        "video": ("video", "labels"),
        "annotations": ("annotations", "video_root"),
    }
    for name in needed[arguments.data]:
        if getattr(arguments, name) is None:
            raise ConfigError(f"--data {arguments.data} needs --{name.replace('_', '-')}; give it.")
    if arguments.fps <= 0 or arguments.max_frames < 2 or arguments.clips < 1:
        raise ConfigError(
            "--fps, --max-frames or --clips is too small; use above 0, at least 2 and at least 1, "
            "respectively."
        )


def _recordings(arguments: argparse.Namespace, intake: Intake) -> list[Recording]:
    if arguments.data in ("bag", "video"):
        from stride_ros.training.sources.labels import labelled_recordings

        return labelled_recordings(_labelled_video(arguments), arguments.labels, intake)
    if arguments.data == "annotations":
        from stride_ros.training.sources.annotations import annotation_recordings

        return annotation_recordings(arguments.annotations, arguments.video_root, intake)
    from stride_ros.training.sources.world import world_recordings

    recordings = list(world_recordings(arguments.world_seed, arguments.clips))
    intake.used = len(recordings)
    return recordings


def _unusable(recordings: list[Recording]) -> list[str]:
    """What could not be decoded in the videos, one sentence each."""
    videos = {recording.video.name: recording.video for recording in recordings}
    return [note for video in videos.values() for note in getattr(video, "unusable", ())]


def _labelled_video(arguments: argparse.Namespace) -> Video:
    from stride_ros.terminal import tell_notes

    if arguments.data == "video":
        from stride_ros.training.sources.video import VideoFile

        film = VideoFile(arguments.video, arguments.until)
        tell_notes(film.notes)
        return film
    from stride_ros.training.sources.bag import BagVideo

    video = BagVideo(arguments.bag, arguments.image_topic, arguments.until)
    tell_notes(video.notes)
    return video


def _plan(arguments: argparse.Namespace) -> Any:
    from stride_ros.training.trainer import TrainingPlan

    embedding = 3 * arguments.learning_rate if arguments.embedding_rate is None else arguments.embedding_rate
    return TrainingPlan(
        output=arguments.out,
        steps=arguments.steps,
        epochs=arguments.epochs,
        batch=arguments.batch_size,
        accumulate=arguments.accumulate,
        learning_rates={
            "language": arguments.learning_rate,
            "embedding": embedding,
            "merger": arguments.merger_rate,
            "vision": arguments.vision_rate,
        },
        warmup_steps=arguments.warmup_steps,
        weight_decay=arguments.weight_decay,
        save_steps=arguments.save_steps,
        log_steps=arguments.log_steps,
        workers=arguments.workers,
        seed=arguments.seed,
        text_weight=arguments.text_weight,
        bf16=arguments.bf16,
        gradient_checkpointing=arguments.gradient_checkpointing,
        dtype=arguments.dtype,
        resume=not arguments.no_resume,
    )
