"""Slot passes recorded once and replayed: on a GPU as CUDA graphs, which start hundreds of kernels at once.

A recording serves all watches of a model, whichever they are: it is made when more of them or longer prompts
than before are to be decided on together, checked against ordinary passes, and used from then on. When
recording fails, or the check, passes are run the ordinary way for good.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.denoising import Probabilities, reveal
from stride_ros.activation.fixed_pass import FixedPass, SlotRows
from stride_ros.activation.window import Labels
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.page_attention import PageAttention

_LOG = logging.getLogger(__name__)
_CAPTURING = threading.Lock()  # PyTorch allows one capture at a time in a process
_MOST_WATCHES = 32  # of a recording
_HIGH = -1  # priority of a stream
_WARM_UPS = 3  # runs before a capture: kernels are loaded, libraries take their workspace
# How far P(active) of a replay may be from that of an ordinary pass, whose kernels round differently: a few
# times what two ways to sum show on a CPU (0.02 in bfloat16 with random weights of the 2B model's shape).
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.1}


class Recorder(Protocol):
    """Records work on tensors that stay where they are.

    failure: why recordings are not to be used any more, None while they are. It outlives a stream, so that a
    device on which recording fails is tried once.
    """

    failure: str | None

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What does the same work again whenever it is called; the work may be run meanwhile, too."""


class CudaRecorder:
    """Captures CUDA graphs on one device. The graphs share one pool of memory for what lies between their
    fixed inputs and outputs; they are replayed one at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self.failure: str | None = None
        self._device = device
        self._side: torch.cuda.Stream | None = None
        self._pool: Any = None
        self._alive: weakref.WeakSet[_Graph] = weakref.WeakSet()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Warm up and capture `work` on a side stream. RuntimeError when it cannot be captured."""
        with _CAPTURING, torch.cuda.device(self._device):
            if self._side is None:
                # Kernels of a graph have the priority of the stream that it was captured on.
                self._side = torch.cuda.Stream(priority=_HIGH)  # type: ignore[no-untyped-call]
            if not self._alive:  # PyTorch refuses a pool all of whose graphs are gone
                self._pool = torch.cuda.graph_pool_handle()
            self._warm_up(work, self._side)
            recorded = _Graph(self._capture(work, self._side))
        self._alive.add(recorded)
        return recorded

    def _warm_up(self, work: Callable[[], None], side: torch.cuda.Stream) -> None:
        current = torch.cuda.current_stream()
        side.wait_stream(current)
        try:
            # The stream of the capture, since libraries keep their workspaces for each stream.
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    work()
        finally:  # also when it failed halfway, as what was started writes to memory that others use
            current.wait_stream(side)
        side.synchronize()  # inputs of the warm-ups may be filled anew

    def _capture(self, work: Callable[[], None], side: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        untouched = generator.clone_state()
        graph = torch.cuda.CUDAGraph()
        try:
            # Not torch.cuda.graph, which waits for the whole device and gives back all memory that PyTorch
            # keeps, in the middle of a tick. Other threads, say a responder in the same process, may use the
            # device meanwhile.
            with torch.cuda.stream(side):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    work()
                except BaseException:
                    with contextlib.suppress(RuntimeError):  # what is raised is why the capture failed
                        graph.capture_end()
                    raise
                graph.capture_end()
        except BaseException:
            # A failed capture leaves the random numbers of the whole process waiting for its end.
            with contextlib.suppress(RuntimeError):
                generator.graphsafe_set_state(untouched)
            raise
        return graph


class _Graph:
    """A captured graph: replayed on the current stream when called."""

    def __init__(self, graph: torch.cuda.CUDAGraph) -> None:
        self._graph = graph

    def __call__(self) -> None:
        self._graph.replay()


Ordinary = Callable[[Sequence[TokenBlock]], list[NDArray[np.float32]]]
# For so many watches, whose prompts have so many pages.
MakeFixed = Callable[[int, int], FixedPass]


@dataclass
class _Recording:
    """One recording; checked: pages of the longest prompt that it was checked with."""

    fixed: FixedPass
    replay: Callable[[], None]
    checked: int = 0


class RecordedPasses:
    """The recordings of slot passes over the pages of one pool, for all watches of a model together.

    There is one for 1, 2, 4, 8, ... watches and for few numbers of pages: what comes and goes in between is
    served by what there is. Each is checked before it is used, and when prompts have become twice as long.

    make_fixed: makes a pass to record; attention: that it reads pages with; ordinary: runs blocks without
    recordings, P(active) (wanted,) of each.
    """

    def __init__(
        self, recorder: Recorder, make_fixed: MakeFixed, attention: PageAttention, ordinary: Ordinary
    ) -> None:
        self._recorder, self._make_fixed, self._ordinary = recorder, make_fixed, ordinary
        self._attention, self._generation = attention, attention.generation
        self._recordings: dict[tuple[int, int], _Recording] = {}
        self._lock = threading.Lock()  # engines in other threads may share the model

    @property
    def count(self) -> int:
        """How many recordings there are to use."""
        return len(self._recordings) if self.usable else 0

    @property
    def usable(self) -> bool:
        return self._recorder.failure is None

    @torch.inference_mode()
    def run(self, rows: Sequence[SlotRows]) -> list[NDArray[np.float32]] | None:
        """P(active) (passes, W) of each watch, from as many passes as it has budgets, one without; None when
        recordings are of no use. The host waits once for up to 32 watches.
        """
        found: list[NDArray[np.float32]] = []
        for first in range(0, len(rows), _MOST_WATCHES):
            batch = rows[first : first + _MOST_WATCHES]
            with self._lock:
                answers = self._run(batch)
            if answers is None:
                return None
            found += [answers[: row.passes, index] for index, row in enumerate(batch)]
        return found

    def _run(self, rows: Sequence[SlotRows]) -> NDArray[np.float32] | None:
        """P(active) (passes, places, W), of which these watches have the first."""
        if self._attention.generation != self._generation:
            self._generation = self._attention.generation
            self._recordings.clear()
        used = max(row.pages for row in rows)
        room = max(used, *(-(-row.cache.room // row.cache.part) for row in rows))
        key = (1 << (len(rows) - 1).bit_length(), _rounded(room))
        if key not in self._recordings and not self._record(key, rows):
            return None
        recording = self._recordings[key]
        if used >= 2 * recording.checked:  # longer prompts than any so far
            if not self._check(recording.fixed, recording.replay, rows):
                return None
            recording.checked = used
        recording.fixed.fill(rows)
        passes = max(row.passes for row in rows)
        for _ in range(passes):
            recording.replay()
        return recording.fixed.answers(passes)

    def _record(self, key: tuple[int, int], rows: Sequence[SlotRows]) -> bool:
        """Record; False, and no recording is used any more, when that fails."""
        try:
            fixed = self._make_fixed(*key)
            fixed.fill(rows)
            self._recordings[key] = _Recording(fixed, self._recorder.record(fixed.run))
        except Exception as error:  # whatever it is: passes can do without
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self._give_up(f"capturing one failed ({reason})")
            return False
        return True

    def _check(self, fixed: FixedPass, replay: Callable[[], None], rows: Sequence[SlotRows]) -> bool:
        """Compare with ordinary passes over the same prompts; False, and no recording is used any more, if
        something is wrong. First over any labels, as slots that are all masked would hide a lot.
        """
        rng = np.random.default_rng(len(rows))
        mixed = [fixed.relabelled(row, rng.integers(0, 3, len(row.labels), np.uint8)) for row in rows]
        for checked in (mixed, rows):
            try:
                fixed.erase()  # nothing is left of what was run before: a replay has to do all by itself
                fixed.fill(checked)
                replay()
                (answers,) = fixed.answers(1)
                labels = fixed.labels()
            except Exception as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                self._give_up(f"replaying one failed ({reason})")
                return False
            expected = np.stack(self._ordinary([row.block for row in checked]))
            difference = float(np.abs(answers[: len(rows)] - expected).max())
            if not difference <= _TOLERANCE[fixed.dtype]:  # also when it is NaN
                self._give_up(f"a replay was off by {difference:.3g} in P(active)")
                return False
            if any((labels[i] != _unmasked(row, answers[i])).any() for i, row in enumerate(checked)):
                self._give_up("a replay unmasked other slots")
                return False
        return True

    def _give_up(self, reason: str) -> None:
        self._recorder.failure = reason
        self._recordings.clear()
        _LOG.warning(
            "CUDA graphs are not used: %s. Decisions are right but slower; set cuda_graphs to false to "
            "silence this.",
            reason,
        )


def replayed(asked: Mapping[int, tuple[RecordedPasses, SlotRows]]) -> dict[int, Probabilities]:
    """P(active) (W,) of each of these watches, (passes, W) with budgets; without those whose passes cannot be
    replayed. Those of one model run together.
    """
    found: dict[int, Probabilities] = {}
    for recorded in dict.fromkeys(recorded for recorded, _ in asked.values()):
        rows = {index: row for index, (of, row) in asked.items() if of is recorded}
        for (index, row), answers in zip(rows.items(), recorded.run(list(rows.values())) or (), strict=False):
            found[index] = answers if row.budgets else answers[0]
    return found


def _rounded(count: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, ... that is as large."""
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _unmasked(row: SlotRows, probabilities: Probabilities) -> Labels:
    """The labels of a watch after its first pass."""
    labels: Labels = row.labels.copy()
    if row.budgets:
        reveal(labels, np.zeros_like(probabilities), probabilities, row.budgets[0])
    return labels
