"""Make a set: videos of the world, and annotations in the format of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stride_ros.errors import ConfigError
from stride_ros.evaluation.miniatures import et_bench, ovo_bench, streaming_bench
from stride_ros.evaluation.miniatures.clip import Clip
from stride_ros.evaluation.world import FIRST_SEED
from stride_ros.sources.world_bag import write_video
from stride_ros.terminal import Progress
from stride_ros.user_files.output import make_folder
from stride_ros.world.world import World

_FORMATS = {"et-bench": et_bench, "ovo-bench": ovo_bench, "streaming-bench": streaming_bench}
_SIZE, _RATE = (320, 240), 2.0  # px, Hz
_MOST, _SHORTEST, _LONGEST = 1000, 30.0, 3600.0  # clips, s


@dataclass(frozen=True)
class Made:
    """The size of a set."""

    clips: int
    questions: int


def make_set(benchmark: str, root: Path, clips: int, seed: int, seconds: float) -> Made:
    """Write a set for `et-bench`, `ovo-bench` or `streaming-bench` into a folder, which is created.

    clips: number of videos of `seconds` each. The same seed gives the same set. Raises ConfigError and
    SourceError.
    """
    if not 1 <= clips <= _MOST or not 0 <= seed < 10**6 or not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigError(
            f"A set of {clips} clips of {seconds:g} s with seed {seed} is not possible; use 1 to {_MOST} "
            f"clips of {_SHORTEST:g} to {_LONGEST:g} s and a seed of at least 0."
        )
    form = _FORMATS[benchmark]
    made: list[Clip] = []
    with Progress("Making", clips * seconds, "s") as progress:
        for number in range(clips):
            world = World(FIRST_SEED + 1000 * seed + number, seconds, _SIZE, _RATE)
            path = root / form.video_of(number)
            make_folder(path.parent)
            write_video(world, path, partial(_update, progress, number * seconds))
            made.append(Clip(number, world, np.random.default_rng([0xE8, seed, number])))
    return Made(clips, form.write(made, root))


def _update(progress: Progress, done: float, time: float) -> None:
    progress.update(done + time)
