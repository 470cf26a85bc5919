"""Run StreamingBench: real-time, omni-source, sequential and proactive questions at their official times.

Parity: every question and every poll goes to the responder, with the clips of the official code. Gated (our
own mode): activation watches for a proactive question, whose output is requested once, at the first trigger.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from stride_ros.activation.spans import SpanState
from stride_ros.activation.stream import Stream
from stride_ros.activation.watch import ActivationUpdate
from stride_ros.errors import ConfigError, SourceError, StrideError
from stride_ros.evaluation.benchmarks.streaming_bench_files import KINDS, PROACTIVE, SQA, kind_of
from stride_ros.evaluation.runners.annotations import digest, found, part_of, read_list, under
from stride_ros.evaluation.runners.asking import Ask, AskItem, Talk
from stride_ros.evaluation.runners.clips import Image, Window, window_frames
from stride_ros.evaluation.runners.prompts import Wording
from stride_ros.evaluation.runners.store import Entry
from stride_ros.evaluation.runners.streaming_questions import (
    OPTIONS,
    Placed,
    check,
    options_of,
    polled,
    questions_of,
    seconds_of,
)
from stride_ros.text.foreign import visible

ANNOTATIONS = ("questions_real.json", "src/data/questions_real.json", "data/questions_real.json")
_LONGEST = 1024  # px; the model is shown smaller frames


class StreamingBench:
    """The questions of a run, and the output for them.

    context: seconds to show before a question, -1 for all; the official runs use -1 and 60.
    """

    name = "streaming-bench"

    def __init__(
        self,
        root: Path,
        annotations: Path | None,
        wording: Wording,
        *,
        gated: bool = False,
        kinds: Sequence[str] = KINDS,
        context: int = -1,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.root, self.wording, self.gated, self.context = root, wording, gated, context
        place = found(root, annotations, ANNOTATIONS)
        self.annotations = place.parent if annotations is None else place
        self.notes: list[str] = []
        self.files = self._files(kinds)
        self.data: dict[str, list[Any]] = {kind: read_list(file) for kind, file in self.files.items()}
        placed = [one for kind, data in self.data.items() for one in questions_of(kind, data)]
        if not placed:
            raise ConfigError(
                f"{self.annotations} has no questions of StreamingBench; give its questions_*.json."
            )
        chosen = part_of(placed, part)
        self.placed = [one for one in chosen if not self._left_out(one)]
        self.settings = {
            "annotations": digest(*self.files.values()),
            "kinds": list(self.data),
            "context": context,
            "part": list(part),
        }

    def keys(self) -> list[str]:
        """Keys of the questions."""
        return [one.key for one in self.placed]

    def items(self) -> list[AskItem]:
        """The items for the responder, in the order of the official code."""
        watched = [] if not self.gated else [PROACTIVE]
        return [self._item(one) for one in self.placed if one.kind not in watched]

    def jobs(self, done: Iterable[str]) -> Iterator[VideoOfOutput]:
        """The questions to watch in gated mode: proactive questions without a result."""
        known = set(done)
        for one in self.placed:
            if self.gated and one.kind == PROACTIVE and one.key not in known:
                yield VideoOfOutput(
                    one.key, self.path_of(one), str(one.question["question"]), *polled(one.question)
                )

    def output(self, job: VideoOfOutput, time: int) -> AskItem:
        """The item for the responder when a proactive question has triggered at `time` (s)."""
        one = next(one for one in self.placed if one.key == job.key)
        window, question = Window(job.begin, time), str(one.question["question"])

        def talk(length: float) -> Talk:
            reply = yield Ask(self.wording.asked("proactive", question), window, _clip(one.video, window))
            if reply.text is None:
                return None
            said = (
                _turn("user", question, time, reply.seconds),
                _turn("assistant", reply.text, time, reply.seconds),
            )
            return {"answered": time, "dialog_history": list(said)}

        return AskItem(job.key, job.path, time, talk, lambda length: [window])

    def write(self, entries: Iterable[Entry], settings: Mapping[str, Any], folder: Path) -> Path:
        """Write the questions with the replies under the responder's name, one file per kind."""
        data = deepcopy(self.data)
        questions = {one.key: one for kind in data for one in questions_of(kind, data[kind])}
        for entry in entries:
            if entry.result is not None and entry.item in questions:
                questions[entry.item].question[settings["responder"]] = entry.result
        place = folder / "predictions"
        place.mkdir(exist_ok=True)
        for kind, value in data.items():
            (place / f"{kind}.json").write_text(json.dumps(value, indent=4), encoding="utf-8")
        return place

    # One question

    def _item(self, one: Placed) -> AskItem:
        question = one.question
        if one.kind == PROACTIVE:
            begin, last = polled(question)
            windows = [Window(begin, time) for time in range(begin + 1, last + 1)]
            return AskItem(
                one.key, self.path_of(one), begin, lambda length: self._polls(one), lambda length: windows
            )
        asked, window = seconds_of(question, "time_stamp"), self.window_of(one)

        def talk(length: float) -> Talk:
            reply = yield Ask(self._prompt(one), window, _clip(one.video, window))
            return reply.text

        return AskItem(one.key, self.path_of(one), asked, talk, lambda length: [window])

    def _prompt(self, one: Placed) -> str:
        text = str(one.question["question"])
        if one.kind == SQA:
            return self.wording.asked("in_turn", self._before(one), text, *options_of(one.question))
        if "options" in one.question:
            return self.wording.asked("choice", text, *options_of(one.question)) + self.wording.joint(
                "choice", {}
            )
        return self.wording.asked("open", text) + self.wording.joint("open", {})

    def _before(self, one: Placed) -> str:
        """The earlier questions in the same group, with the correct answers.

        Resumed official runs forget those that were asked in an earlier process; this one does not.
        """
        told = ""
        for earlier in one.earlier:
            values = {
                "question['time_stamp']": str(earlier["time_stamp"]),
                "ques": str(earlier["question"]),
                "question['answer']": str(earlier["answer"]),
            }
            values |= {f"options[{i}]": option for i, option in enumerate(options_of(earlier)[:OPTIONS])}
            told = told or self.wording.joint("before", {})
            told += self.wording.joint("each_before", values)
        return told

    def _polls(self, one: Placed) -> Talk:
        question = one.question
        begin, last = polled(question)
        names = ("question", "ground_truth_output")
        poll = self.wording.joint("poll", {f"question['{name}']": str(question[name]) for name in names})
        history: list[dict[str, Any]] = []
        for time in range(begin + 1, last + 1):
            window = Window(begin, time)
            for text in (poll, str(question["question"])):
                reply = yield Ask(self.wording.asked("proactive", text), window, _clip(one.video, window))
                if reply.text is None:
                    return None
                history.append(_turn("user", text, time, reply.seconds))
                history.append(_turn("assistant", reply.text, time, reply.seconds))
                if text is poll and "yes" not in reply.text.strip().lower():
                    break
            else:
                return {"answered": time, "dialog_history": history}
        return {"answered": False, "dialog_history": history}

    # The files

    def _files(self, kinds: Sequence[str]) -> dict[str, Path]:
        if not self.annotations.is_dir():
            kind = kind_of(read_list(self.annotations))
            if kind not in kinds:
                raise ConfigError(
                    f"{self.annotations} has no questions of StreamingBench; give its questions_*.json."
                )
            return {kind: self.annotations}
        files = {kind: self.annotations / f"questions_{kind}.json" for kind in kinds}
        there = {kind: file for kind, file in files.items() if file.is_file()}
        if not there:
            raise SourceError(
                f"{self.annotations} has no questions_*.json; set --annotations to their folder."
            )
        for kind in files.keys() - there.keys():
            self.notes.append(f"{self.annotations} has no questions_{kind}.json; its part is left out.")
        return there

    def _left_out(self, one: Placed) -> bool:
        try:
            check(one)
        except StrideError as error:
            self.notes.append(f"{one.key} {visible(one.video, 60)}: {error}")
            return True
        return False

    def window_of(self, one: Placed) -> Window:
        """The clip for a question that is asked once."""
        asked = seconds_of(one.question, "time_stamp")
        return Window(max(0, asked - self.context) if self.context > 0 else 0, asked)

    def path_of(self, one: Placed) -> Path:
        """The file of a question's video."""
        return under(self.root, one.video)


def _clip(video: str, window: Window) -> str:
    return f"{Path(video).stem}_{int(window.start)}_{int(window.end)}.mp4"


def _turn(role: str, content: str, time: int, cost: float) -> dict[str, Any]:
    return {"role": role, "content": content, "time": time, "cost": cost}


class VideoOfOutput:
    """A proactive question that is watched from `begin` to `last` (s).

    `triggered`: time of its first onset, rounded up to whole seconds, or None. It has `results` by key only
    if nothing triggered by `last`, which counts as no output.
    """

    def __init__(self, key: str, path: Path, question: str, begin: int, last: int) -> None:
        self.name, self.key, self.path, self.begin, self.last = path.name, key, path, begin, last
        self.keys = [key]
        self.triggered: int | None = None
        self.results: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self._question = question
        self._watched = False

    def frames(self) -> Iterator[tuple[Image, float]]:
        """See Watching."""
        times = [float(second) for second in range(self.begin, max(self.begin, self.last) + 1)]
        return window_frames(self.path, times, _LONGEST)

    def before(self, stream: Stream, time: float) -> None:
        """See Watching."""
        if not self._watched:
            stream.watch(self._question)
            self._watched = True

    def after(self, stream: Stream, updates: Sequence[ActivationUpdate], time: float) -> bool:
        """See Watching. The clip for the output includes the picture that triggered it."""
        if any(event.state is SpanState.ONSET for update in updates for event in update.events):
            self.triggered = min(int(time) + 1, self.last)
        return self.triggered is None

    def end(self, stream: Stream, updates: Sequence[ActivationUpdate]) -> None:
        """See Watching."""
        if self.triggered is None:
            silent = [
                _turn(role, text, self.last, 0.0)
                for role, text in (("user", self._question), ("assistant", ""))
            ]
            self.results[self.key] = {"answered": False, "dialog_history": silent}
