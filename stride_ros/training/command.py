"""`stride-ros train`: fine-tune a checkpoint on the world, annotated videos or a robot's own bag."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import add_threads_option, choose_threads, use_threads
from stride_ros.terminal import say
from stride_ros.text.wording import counted, escaped, plural
from stride_ros.training.options import add_options
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.training.sources.bag import BagVideo
    from stride_ros.training.sources.recording import Intake, Recording, Video
    from stride_ros.training.sources.video import VideoFile


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
    add_options(parser)
    add_threads_option(parser)
    parser.set_defaults(run=run)


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
    from stride_ros.training.advice import commands_for_the_rest, notes_on_slots
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
    videos = list({id(recording.video): recording.video for recording in recordings}.values())
    asked = counted(len({recording.queries for recording in recordings}), "query", "queries")
    where = f"{asked} in {counted(len(videos), 'recording')}"
    say(f"{counted(len(samples), 'sample')}, cut around {events} of {where}; {intake.summary()}.")
    if arguments.data != "world":
        tell_notes(notes_on_slots(recordings, arguments.fps, config.trigger_temporal_resolution))
    losses = train(model, tokenizer, dataset, _plan(arguments))
    tell_notes(_unusable(recordings))
    if dataset.unreadable:
        tell_notes([f"{counted(dataset.unreadable, 'video')} could not be decoded."])
    say(f"{losses} The model is in {escaped(str(arguments.out))}.".strip())
    if arguments.data in ("bag", "video") and (commands := commands_for_the_rest(arguments, videos)):
        where = plural(len(commands), "of the recording", "of the recordings")
        say(f"The loss is about footage that the model has seen. To try it on the rest {where}:")
        for command in commands:
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
    if arguments.data in ("bag", "video"):
        given, labels = len(getattr(arguments, arguments.data)), len(arguments.labels)
        if given != labels:
            raise ConfigError(
                f"There are {counted(given, arguments.data)} and {counted(labels, 'labels file')}; give one "
                "labels file for each, in the same order."
            )
    if arguments.fps <= 0 or arguments.max_frames < 2 or arguments.clips < 1:
        raise ConfigError(
            "--fps, --max-frames or --clips is too small; use above 0, at least 2 and at least 1, "
            "respectively."
        )


def _recordings(arguments: argparse.Namespace, intake: Intake) -> list[Recording]:
    if arguments.data in ("bag", "video"):
        from stride_ros.training.sources.labels import labelled_recordings

        found: list[Recording] = []
        videos = _labelled_videos(arguments)
        for video, labels in zip(videos, arguments.labels, strict=True):
            found += labelled_recordings(video, labels, intake)
        return found
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


def _labelled_videos(arguments: argparse.Namespace) -> list[Video]:
    from stride_ros.terminal import tell_notes

    videos: list[BagVideo | VideoFile]
    if arguments.data == "video":
        from stride_ros.training.sources.video import VideoFile

        videos = [VideoFile(path, arguments.until) for path in arguments.video]
    else:
        from stride_ros.training.sources.bag import BagVideo, ImageCache

        cache = ImageCache()
        videos = [BagVideo(path, arguments.image_topic, arguments.until, cache) for path in arguments.bag]
    for video in videos:
        tell_notes(video.notes)
    return list(videos)


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
