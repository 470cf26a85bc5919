"""Run ET-Bench: watch whole videos at one frame per second for their questions, as the authors do.

Questions are used word for word from the annotations. TVG and EPM end with their first completed span; TAL,
DVC and SLC continue. A sample in which nothing is found gets the whole video, by the authors' rule, and is
marked `fallback`.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from stride_ros.activation.spans import SpanEvent, SpanState
from stride_ros.activation.stream import Stream
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.errors import ConfigError, StrideError
from stride_ros.evaluation.benchmarks.et_bench_figures import TASKS
from stride_ros.evaluation.benchmarks.et_bench_reading import OTHER_TASKS
from stride_ros.evaluation.benchmarks.stored import METADATA
from stride_ros.evaluation.runners.annotations import digest, found, part_of, read_list, under
from stride_ros.evaluation.runners.clips import Image, sampled_video
from stride_ros.evaluation.runners.store import Entry
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted

ANNOTATIONS = (
    "etbench_txt_v1.0.json",
    "annotations/etbench_txt_v1.0.json",
    "evaluation/etbench_txt_v1.0.json",
)
SEVERAL = ("dvc", "slc", "evs", "vhd", "tal", "tem")  # tasks whose question may have several answers
# The settings of the authors' script, by parameter name. Its code draws the slots of a step at random; here
# the most confident ones are taken (selection topk), so that runs are reproducible.
AUTHORS = {
    "decide_every": 32,
    "max_frames": 128,
    "drop_frames": 32,
    "odd_frame": "wait",
    "trigger.min_active_seconds": 0.0,
    "trigger.min_confidence": 0.0,
}
_TOGETHER = 8  # questions that share one reading of their video; more need more memory
_LONGEST = 1024  # px; the model is shown smaller frames
_FOLDERS = ("", "videos", "data")
Sample = dict[str, Any]


def in_order(samples: Sequence[Sample]) -> list[Sample]:
    """All samples, grouped by video, with videos in the order of the authors' single process."""
    groups: dict[Any, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample["video"], []).append(sample)
    videos = list(groups)
    random.Random(42).shuffle(videos)
    return [sample for video in videos for sample in groups[video]]


class EtBench:
    """The samples of a run, and the output for them."""

    name = "et-bench"

    def __init__(
        self,
        root: Path,
        annotations: Path | None,
        tasks: Sequence[str] = TASKS,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.root = root
        self.annotations = found(root, annotations, ANNOTATIONS)
        self.notes: list[str] = []
        files = [self.annotations]
        if self.annotations.is_dir():
            files = sorted(self.annotations.glob("*.json"))
        samples = self._usable([sample for file in files for sample in read_list(file)])
        chosen = [sample for sample in in_order(samples) if sample["task"] in tasks]
        if not chosen:
            raise ConfigError(
                f"{self.annotations} has no samples of ET-Bench's tasks {', '.join(tasks)}; "
                "give the benchmark's annotations, such as etbench_txt_v1.0.json."
            )
        self.samples: list[Sample] = list(part_of(chosen, part))
        self.settings = {"annotations": digest(*files), "tasks": list(tasks), "part": list(part)}

    def keys(self) -> list[str]:
        """Keys of the samples, which identify their predictions."""
        return [key_of(sample) for sample in self.samples]

    def jobs(self, done: Iterable[str]) -> Iterator[VideoOfSamples]:
        """The remaining samples to watch, grouped by video."""
        known = set(done)
        for video, group in groupby(self.samples, key=lambda sample: sample["video"]):
            of_video = [sample for sample in group if key_of(sample) not in known]
            for start in range(0, len(of_video), _TOGETHER):
                yield VideoOfSamples(self.path_of(video), of_video[start : start + _TOGETHER])

    def write(self, entries: Iterable[Entry], settings: dict[str, Any], folder: Path) -> Path:
        """Write the predictions as STRIDE's database in JSON lines; samples without a result are left out."""
        path = folder / "predictions.jsonl"
        wanted = set(self.keys())
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps({METADATA: settings}, ensure_ascii=False) + "\n")
            for entry in entries:
                if entry.item in wanted and entry.result is not None:
                    line = {"_key": entry.item, "_value": entry.result}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return path

    def path_of(self, video: str) -> Path:
        """The file of a video."""
        paths = [under(self.root / folder, video) for folder in _FOLDERS]
        return next((path for path in paths if path.is_file()), paths[0])

    def _usable(self, objects: Sequence[Any]) -> list[Sample]:
        unknown: Counter[str] = Counter()
        odd = 0
        usable: list[Sample] = []
        for item in objects:
            if not isinstance(item, dict) or not all(
                isinstance(item.get(key), str) for key in ("task", "source", "video")
            ):
                odd += 1
                continue
            if item["task"] not in (*TASKS, *OTHER_TASKS):
                unknown[item["task"]] += 1
            usable.append(item)
        if odd:
            self.notes.append(f"{counted(odd, 'item')} without task, source and video left out.")
        self.notes += [
            f"{counted(number, 'sample')} of the unknown task {visible(task, 40)!r} left out."
            for task, number in unknown.items()
        ]
        return usable


def key_of(sample: Sample) -> str:
    """The key of a sample in STRIDE's database."""
    return json.dumps(sample, sort_keys=True, ensure_ascii=False)


class VideoOfSamples:
    """A video that is watched for the questions of its samples; it has `results` by key once it is over."""

    def __init__(self, path: Path, samples: Sequence[Sample]) -> None:
        self.name = path.name
        self.path = path
        self.keys = list(dict.fromkeys(key_of(sample) for sample in samples))
        self.results: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self._samples = {key_of(sample): sample for sample in samples}
        self._open: dict[str, Watch] = {}  # by id, which is the place among the keys
        self._spans: dict[str, list[SpanEvent]] = {}
        self._last = 0.0

    def frames(self) -> Iterator[tuple[Image, float]]:
        """See Watching."""
        return sampled_video(self.path, _LONGEST)

    def before(self, stream: Stream, time: float) -> None:
        """See Watching."""
        if self._spans:
            return
        for number, key in enumerate(self.keys):
            sample, id = self._samples[key], str(number)
            self._spans[id] = []
            try:
                self._open[id] = stream.watch(_question(sample), id=id)
            except StrideError as error:
                self.errors[key] = str(error)

    def after(self, stream: Stream, updates: Sequence[ActivationUpdate], time: float) -> bool:
        """See Watching."""
        self._last = time
        self._note(updates)
        for id, watch in tuple(self._open.items()):
            if self._spans[id] and self._samples[self.keys[int(id)]]["task"] not in SEVERAL:
                stream.unwatch(watch)
                del self._open[id]
        return bool(self._open)

    def end(self, stream: Stream, updates: Sequence[ActivationUpdate]) -> None:
        """See Watching."""
        self._note(updates)
        for id, watch in self._open.items():  # what is still going on ends with the video
            self._spans[id] += stream.unwatch(watch)
        for number, key in enumerate(self.keys):
            if key in self.errors:
                continue
            spans = self._spans[str(number)]
            if self._samples[key]["task"] not in SEVERAL:
                spans = spans[:1]
            segments: list[dict[str, Any]] = [
                {"start_sec": max(0.0, span.start), "end_sec": max(0.0, span.end)} for span in spans
            ]
            whole = {"start_sec": 0.0, "end_sec": self._last, "fallback": True}
            self.results[key] = {"trigger_segments": segments or [whole]}

    def _note(self, updates: Sequence[ActivationUpdate]) -> None:
        for update in updates:
            self._spans[update.watch] += [e for e in update.events if e.state is SpanState.OFFSET]


def _question(sample: Sample) -> str:
    question = sample.get("q")
    if not isinstance(question, str):
        raise ConfigError("The sample has no question, the key q; correct the annotations.")
    return question
