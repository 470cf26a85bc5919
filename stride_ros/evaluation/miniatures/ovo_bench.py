"""Make a set in OVO-Bench's format: each clip has a backward, a real-time and all forward tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stride_ros.evaluation.benchmarks.ovo_bench import CATEGORIES
from stride_ros.evaluation.miniatures.clip import Clip, activity
from stride_ros.evaluation.runners.ovo_bench import ANNOTATIONS
from stride_ros.user_files.output import write_whole
from stride_ros.world.story import WorldEvent

_NOBODY_KNOWS = "Unable to answer"
_ASIDE = 3.0  # s between a probe and anything that would change its answer
_MOST = 5  # maximum number of probes per item


def video_of(number: int) -> str:
    """The file of a clip, relative to the root."""
    return f"src_videos/world/clip_{number:03}.mp4"


def write(clips: Iterable[Clip], root: Path) -> int:
    """Write the annotations; return the number of questions."""
    items: list[dict[str, Any]] = []
    for clip in clips:
        video = video_of(clip.number).removeprefix("src_videos/")
        items += [{"id": len(items) + i, "video": video, **item} for i, item in enumerate(_items(clip))]
    write_whole(root / ANNOTATIONS[0], json.dumps(items, ensure_ascii=False))
    return sum(len(item.get("test_info", "1")) for item in items)


def _items(clip: Clip) -> Iterator[dict[str, Any]]:
    backward, now = CATEGORIES["backward"], CATEGORIES["realtime"]
    yield from _past(clip, backward[clip.number % len(backward)])
    yield from _present(clip, now[clip.number % len(now)])
    yield from _counted(clip)
    yield from _steps(clip)
    yield from _clue(clip)


def _choice(task: str, time: int, question: str, options: list[str], right: int) -> dict[str, Any]:
    return {
        "task": task,
        "realtime": time,
        "question": question,
        "answer": options[right],
        "options": options,
        "gt": right,
    }


def _past(clip: Clip, task: str) -> Iterator[dict[str, Any]]:
    time = clip.moment(0.7 * clip.seconds, clip.seconds - 1)
    if task == "HLD":
        never, *options = clip.absent(4)
        question = f"When was this the case: {never}"
        yield _choice(task, time, question, [*options, _NOBODY_KNOWS], len(options))
    elif over := clip.over_by(time):
        options, right = clip.choices(clip.one_of(over).text)
        yield _choice(task, time, "Which of these was the case earlier?", options, right)


def _present(clip: Clip, task: str) -> Iterator[dict[str, Any]]:
    times = [time for time in range(5, int(clip.seconds)) if clip.so_at(time)]
    if times:
        time = times[int(clip.rng.integers(len(times)))]
        options, right = clip.choices(clip.one_of(clip.so_at(time)).text)
        yield _choice(task, time, "Which of these is the case now?", options, right)


def _counted(clip: Clip) -> Iterator[dict[str, Any]]:
    for query in clip.queries(2)[:1]:
        events = clip.events(query)
        times = [math.ceil(min(event.end, clip.seconds - 1)) for event in events][:_MOST]
        counts = [sum(event.start < time for event in events) for time in times]
        yield {
            "task": "REC",
            "activity": activity(events[0]),
            "start_times": [round(event.start, 1) for event in events],
            "end_times": [round(event.end, 1) for event in events],
            "test_info": [{"realtime": t, "count": c} for t, c in zip(times, counts, strict=True)],
        }


def _steps(clip: Clip) -> Iterator[dict[str, Any]]:
    """SSR probes, in which the step's text is a query, since activation watches for it unchanged."""
    steps = clip.queries(1, 2)[:2]
    probes = []
    for query in steps:
        for event in clip.events(query)[:1]:
            probes += [(event.start - _ASIDE, query), (0.5 * (event.start + event.end), query)]
            probes.append((event.end + _ASIDE, query))
    probes = [(math.floor(t), query) for t, query in probes if 1 <= t < clip.seconds]
    if probes:
        yield {
            "task": "SSR",
            "tutorial": "World",
            "all_steps": steps,
            "start_time": [round(clip.events(query)[0].start, 1) for query in steps],
            "end_time": [round(clip.events(query)[0].end, 1) for query in steps],
            "test_info": [
                {"realtime": time, "step": query, "type": int(_is_so(clip.events(query), time))}
                for time, query in probes
            ],
        }


def _clue(clip: Clip) -> Iterator[dict[str, Any]]:
    for query in clip.queries(1):
        for event in clip.events(query):
            ask, clue = math.floor(event.start - 2 * _ASIDE), math.ceil(event.start + _ASIDE)
            before = [e for e in clip.world.events_for(query) if e.start < event.start]
            if ask < 1 or clue + 2 >= clip.seconds or any(e.end > ask - _ASIDE for e in before):
                continue
            times = [ask + 1, ask + 2, clue, clue + 2]
            yield {
                "task": "CRR",
                "question": query,
                "answer": event.text,
                "ask_time": ask,
                "clue_time": clue,
                "test_info": [{"realtime": time, "type": int(time >= clue)} for time in times],
            }
            return


def _is_so(events: list[WorldEvent], time: float) -> bool:
    return any(event.start <= time <= event.end for event in events)
