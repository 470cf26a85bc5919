"""Run OVO-Bench: ask each item at its official times about the clip up to then.

Parity: every question goes to the responder, with the clips of the official script. Gated (our own mode):
activation decides whether a step is going on (SSR), and whether the answer has been seen (CRR).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from stride_ros.activation.spans import SpanEvent, SpanState
from stride_ros.activation.stream import Stream
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.errors import ConfigError
from stride_ros.evaluation.benchmarks.ovo_bench import CATEGORIES, TASKS
from stride_ros.evaluation.runners.annotations import digest, found, part_of, read_list, under
from stride_ros.evaluation.runners.asking import Ask, AskItem, Talk
from stride_ros.evaluation.runners.clips import Image, Window, window_frames
from stride_ros.evaluation.runners.prompts import Wording, lettered
from stride_ros.evaluation.runners.store import Entry
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted

ANNOTATIONS = ("ovo_bench_new.json", "data/ovo_bench_new.json")
FORWARD = CATEGORIES["forward"]
GATED = ("SSR", "CRR")  # tasks that activation decides in gated mode
_FOLDERS = ("data/src_videos", "src_videos", "videos", "")
_LONGEST = 1024  # px; the model is shown smaller frames
_NOW = 0.5  # s, half a slot: an open span ends with the newest slot
Sample = dict[str, Any]


class OvoBench:
    """The items of a run, and the output for them."""

    name = "ovo-bench"

    def __init__(
        self,
        root: Path,
        annotations: Path | None,
        wording: Wording,
        *,
        gated: bool = False,
        tasks: Sequence[str] = TASKS,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.root, self.wording, self.gated, self.tasks = root, wording, gated, tuple(tasks)
        self.annotations = found(root, annotations, ANNOTATIONS)
        self.notes: list[str] = []
        samples = self._usable(read_list(self.annotations))
        if not samples:
            raise ConfigError(
                f"{self.annotations} has no items of OVO-Bench's tasks {', '.join(tasks)}; "
                "give the benchmark's annotations, such as ovo_bench_new.json."
            )
        self.samples = list(part_of(samples, part))
        self._folder = next(
            (f for f in _FOLDERS if any((root / f / s["video"]).is_file() for _, s in self.samples[:50])), ""
        )
        self.settings = {"annotations": digest(self.annotations), "tasks": list(tasks), "part": list(part)}

    def items(self) -> list[AskItem]:
        """The items for the responder, in the order of the official code: backward, real-time, forward."""
        return [item for number, sample in self._by_category() for item in self._asked(number, sample)]

    def jobs(self, done: Iterable[str]) -> Iterator[VideoOfProbes]:
        """The items to watch in gated mode: forward items that have no result yet."""
        known = set(done)
        for number, sample in self._by_category():
            keys = [key_of(number, probe) for probe in range(len(sample.get("test_info", ())))]
            if self.gated and sample["task"] in GATED and not known.issuperset(keys):
                yield VideoOfProbes(self.path_of(sample), sample, keys)

    def keys(self) -> list[str]:
        """Keys of the questions."""
        return [key for number, sample in self._by_category() for key in _keys(number, sample)]

    def write(self, entries: Iterable[Entry], settings: dict[str, Any], folder: Path) -> Path:
        """Write the files of the official inference; items that lack a reply are left out."""
        replies = {entry.item: entry.result for entry in entries if isinstance(entry.result, dict)}
        whole: dict[str, list[Sample]] = {category: [] for category in CATEGORIES}
        for number, sample in self._by_category():
            keys = _keys(number, sample)
            if all(key in replies for key in keys):
                given = [replies[key]["response"] for key in keys]
                whole[_category(sample["task"])].append(self._result(sample, given))
        path = folder / "predictions.json"
        path.write_text(json.dumps(whole, indent=4), encoding="utf-8")
        return path

    def _result(self, sample: Sample, replies: Sequence[Any]) -> Sample:
        video = str(Path(self._folder) / sample["video"])
        if sample["task"] in FORWARD:
            forward = deepcopy(sample) | {"video": video}
            for probe, reply in zip(forward["test_info"], replies, strict=True):
                probe["response"] = reply
            return forward
        return {
            "id": sample["id"],
            "video": video,
            "task": sample["task"],
            "question": sample["question"],
            "response": replies[0],
            "ground_truth": chr(ord("A") + sample["gt"]),
        }

    def _by_category(self) -> list[tuple[int, Sample]]:
        order = list(CATEGORIES)
        return sorted(self.samples, key=lambda pair: order.index(_category(pair[1]["task"])))

    def _asked(self, number: int, sample: Sample) -> Iterator[AskItem]:
        if self.gated and sample["task"] in GATED:
            return
        probes = sample["test_info"] if sample["task"] in FORWARD else [sample]
        for probe, (key, moment) in enumerate(zip(_keys(number, sample), probes, strict=True)):
            forward = sample["task"] in FORWARD
            clip = f"{sample['id']}_{probe}.mp4" if forward else f"{sample['id']}.mp4"
            yield self._item(key, sample, moment, clip)

    def _item(self, key: str, sample: Sample, moment: Sample, clip: str) -> AskItem:
        def windows(length: float) -> list[Window]:
            return [window(moment["realtime"], length)]

        def talk(length: float) -> Talk:
            reply = yield Ask(self._prompt(sample, moment), windows(length)[0], clip)
            return {"response": reply.text}

        return AskItem(key, self.path_of(sample), moment["realtime"], talk, windows)

    def _prompt(self, sample: Sample, moment: Sample) -> str:
        if sample["task"] == "REC":
            counted_question = self.wording.joint("count", {"activity": str(sample["activity"])})
            return self.wording.asked("count", counted_question)
        if sample["task"] == "SSR":
            return self.wording.asked("step", str(moment["step"]))
        if sample["task"] == "CRR":
            return self.wording.asked("clue", str(sample["question"]))
        options = "; ".join(lettered(sample["options"])) + ";"
        return self.wording.asked("choice", str(sample["question"]), options)

    def path_of(self, sample: Sample) -> Path:
        """The file of an item's video."""
        return under(self.root / self._folder, sample["video"])

    def _usable(self, objects: Sequence[Any]) -> list[tuple[int, Sample]]:
        unknown: Counter[str] = Counter()
        usable: list[tuple[int, Sample]] = []
        for number, item in enumerate(objects):
            problem = _problem(item)
            if problem:
                self.notes.append(f"Item {number} of the annotations {problem}; it is left out.")
            elif item["task"] not in TASKS:
                unknown[item["task"]] += 1
            elif item["task"] in self.tasks:
                usable.append((number, item))
        self.notes += [
            f"{counted(number, 'item')} of the unknown task {visible(task, 40)!r} left out."
            for task, number in unknown.items()
        ]
        return usable


def window(realtime: float, length: float) -> Window:
    """The official clip of a question: up to the next whole second, or to the end of the video (s)."""
    end: float = math.ceil(realtime)
    return Window(0, min(end, length))


def key_of(number: int, probe: int) -> str:
    """The key of a question: the index of its item in the annotations, and of its probe."""
    return f"{number}/{probe}"


def _keys(number: int, sample: Sample) -> list[str]:
    probes = len(sample["test_info"]) if sample["task"] in FORWARD else 1
    return [key_of(number, probe) for probe in range(probes)]


def _category(task: str) -> str:
    return next(name for name, tasks in CATEGORIES.items() if task in tasks)


def _problem(item: Any) -> str:
    """The problem of an item, in words; "" for a usable one."""
    if not isinstance(item, dict) or not isinstance(item.get("task"), str):
        return "is not an object with a task"
    if item["task"] not in TASKS:
        return ""
    forward = item["task"] in FORWARD
    more = {"REC": ("activity",), "CRR": ("question", "ask_time"), "SSR": ()}
    keys = more[item["task"]] if forward else ("question", "options", "gt", "realtime")
    for key in ("id", "video", *keys):
        if item.get(key) is None:
            return f"({visible(item['task'], 10)}) has no {key}"
    if not isinstance(item["video"], str):
        return "has a video that is not text"
    if not forward:
        good = (
            isinstance(item["options"], list) and isinstance(item["gt"], int) and _is_time(item["realtime"])
        )
        return "" if good else "has options, gt or realtime of another kind"
    probes = item.get("test_info")
    if not isinstance(probes, list) or not all(
        isinstance(p, dict) and _is_time(p.get("realtime")) for p in probes
    ):
        return "has no test_info with a realtime in each"
    if item["task"] == "SSR" and not all(isinstance(p.get("step"), str) for p in probes):
        return "has a probe without a step"
    return ""


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e7


class VideoOfProbes:
    """A forward item that is watched; it has `results` by key once it is over.

    SSR: a probe gets Yes if a published span of its step's text reaches the last picture before it. CRR: the
    question is watched for from `ask_time` on, including what is in context; a probe gets Yes if an onset
    came before it, of an event that was still going on after the question.
    """

    def __init__(self, path: Path, sample: Sample, keys: Sequence[str]) -> None:
        self.name, self.path = path.name, path
        self.results: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self.keys = list(keys)
        self._is_step = sample["task"] == "SSR"
        self._asked = 0.0 if self._is_step else float(sample["ask_time"])
        probes = sample["test_info"]
        self._texts = [str(p["step"]) if self._is_step else str(sample["question"]) for p in probes]
        self._times = [float(math.ceil(p["realtime"])) for p in probes]
        self._watches: dict[str, Watch] = {}
        self._spans: dict[str, dict[int, float]] = {text: {} for text in self._texts}  # ends of spans
        self._newest = 0.0
        self._fired: dict[str, float] = {}

    def frames(self) -> Iterator[tuple[Image, float]]:
        """See Watching."""
        times = [float(second) for second in range(int(max(self._times, default=0.0)) + 1)]
        return window_frames(self.path, times, _LONGEST)

    def before(self, stream: Stream, time: float) -> None:
        """See Watching. A picture at the end of a clip is not in it, so its probe is answered first."""
        self._answer(time)
        if time >= self._asked and not self._watches:
            for text in self._spans:
                self._watches[text] = stream.watch(text, look_back=time > 0)

    def after(self, stream: Stream, updates: Sequence[ActivationUpdate], time: float) -> bool:
        """See Watching."""
        self._newest = time
        for update in updates:
            for event in update.events:
                self._note(event)
        return len(self.results) < len(self.keys)

    def end(self, stream: Stream, updates: Sequence[ActivationUpdate]) -> None:
        """See Watching."""
        self._answer(math.inf)

    def _note(self, event: SpanEvent) -> None:
        if event.state is SpanState.RETRACTED:
            self._spans[event.query].pop(event.span_id, None)
        else:
            self._spans[event.query][event.span_id] = event.end
        if event.state is SpanState.ONSET and event.end >= self._asked:
            self._fired.setdefault(event.query, event.time)

    def _answer(self, now: float) -> None:
        for key, text, time in zip(self.keys, self._texts, self._times, strict=True):
            if key not in self.results and time <= now:
                yes = self._goes_on(text) if self._is_step else text in self._fired
                self.results[key] = {"response": "Yes" if yes else "No"}

    def _goes_on(self, text: str) -> bool:
        return any(end >= self._newest - _NOW for end in self._spans[text].values())
