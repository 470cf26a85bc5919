"""Make a set in ET-Bench's format: five samples per clip, one for each scored task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stride_ros.evaluation.miniatures.clip import Clip, in_view
from stride_ros.evaluation.runners.et_bench import ANNOTATIONS
from stride_ros.user_files.output import write_whole

SOURCE = "world"
_SINGLE, _SEVERAL = ("tvg", "epm"), ("tal", "dvc", "slc")


def video_of(number: int) -> str:
    """The file of a clip, relative to the root."""
    return f"{SOURCE}/clip_{number:03}.mp4"


def write(clips: Iterable[Clip], root: Path) -> int:
    """Write the annotations; return the number of samples."""
    counts: Counter[str] = Counter()
    samples = []
    for sample in (sample for clip in clips for sample in _samples(clip)):
        samples.append({"version": 1.0, "idx": counts[sample["task"]], **sample})
        counts[sample["task"]] += 1
    write_whole(root / ANNOTATIONS[0], json.dumps(samples, ensure_ascii=False))
    return len(samples)


def _samples(clip: Clip) -> Iterator[dict[str, Any]]:
    common = {"source": SOURCE, "video": video_of(clip.number), "duration": clip.seconds}
    for task, query in zip(_SINGLE, clip.queries(1, 1), strict=False):
        (span,) = in_view(clip.events(query), clip)
        yield {"task": task, **common, "tgt": span, "q": query}
    for task, query in zip(_SEVERAL, clip.queries(2), strict=False):
        events = clip.events(query)
        texts = {} if task == "tal" else {"g": [event.text for event in events]}
        yield {"task": task, **common, "tgt": in_view(events, clip), "q": query, **texts}
