"""Make a set in StreamingBench's format: each clip has questions of all four kinds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stride_ros.evaluation.benchmarks.streaming_bench_files import KINDS, OMNI_TASKS, REAL_TASKS, SQA
from stride_ros.evaluation.miniatures.clip import Clip
from stride_ros.user_files.output import write_whole

_AHEAD = 6  # s by which a proactive question is asked before its event


def video_of(number: int) -> str:
    """The file of a clip, relative to the root."""
    return f"videos/sample_{number}.mp4"


def write(clips: Iterable[Clip], root: Path) -> int:
    """Write the files of questions; return the number of questions."""
    files: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    number = 0
    for clip in clips:
        entries = {
            "real": [_entry(clip, question) for question in _choices(clip, REAL_TASKS, 2)],
            "omni": [_entry(clip, question) for question in _choices(clip, OMNI_TASKS, 1)],
            SQA: [
                _entry(clip, question) for question in _choices(clip, ("Sequential Question Answering",), 3)
            ],
            "proactive": [_entry(clip, question) for question in _outputs(clip)],
        }
        number += sum(map(len, entries.values()))
        for kind, found in entries.items():
            files[kind] += [found] if kind == SQA else found
    for kind, value in files.items():
        write_whole(root / f"questions_{kind}.json", json.dumps(value, ensure_ascii=False, indent=1))
    return number


def _entry(clip: Clip, question: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": f"[0:00:00 - {stamp(int(clip.seconds))[1:]}]",
        "questions": [{**question, "required_ability": "working memory"}],
        "video_categories": "world",
        "video_path": f"./{video_of(clip.number)}",
    }


def _choices(clip: Clip, tasks: tuple[str, ...], count: int) -> Iterator[dict[str, Any]]:
    times = [time for time in range(5, int(clip.seconds)) if clip.so_at(time)]
    chosen = sorted(times[i] for i in clip.rng.permutation(len(times))[:count])
    for place, time in enumerate(chosen):
        options, right = clip.choices(clip.one_of(clip.so_at(time)).text)
        yield {
            "task_type": tasks[(clip.number * count + place) % len(tasks)],
            "question": "Which of these is the case right now?",
            "time_stamp": stamp(time),
            "answer": "ABCD"[right],
            "options": [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)],
        }


def _outputs(clip: Clip) -> Iterator[dict[str, Any]]:
    """Proactive questions, which are queries, since activation watches for them unchanged."""
    for query in clip.queries(1):
        for event in clip.events(query):
            asked, due = int(event.start) - _AHEAD, round(event.start)
            before = [e for e in clip.world.events_for(query) if e.start < event.start]
            if asked < 1 or due + 5 >= clip.seconds or any(e.end > asked for e in before):
                continue
            yield {
                "task_type": "Proactive Output",
                "question": query,
                "time_stamp": stamp(asked),
                "ground_truth_time_stamp": stamp(due),
                "ground_truth_output": event.subject,
            }
            return


def stamp(seconds: int) -> str:
    """A time in the form used by the questions, 00:01:05."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
