"""Slot passes recorded once and replayed: on a GPU as CUDA graphs, which start hundreds of kernels at once.

A recording is made for each number of cache parts that a prompt reaches into, checked against an ordinary
pass, and used from then on, as long as the parts stay where they are. When recording fails, or the check,
passes are run the ordinary way for good.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.fixed_pass import FixedPass, parts_needed
from stride_ros.qwen3_vl.decoder import TokenBlock

_LOG = logging.getLogger(__name__)
_CAPTURING = threading.Lock()  # PyTorch allows one capture at a time in a process
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
                self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
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

    def _capture(self, work: Callable[[], None], side: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        current = torch.cuda.current_stream()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        untouched = generator.clone_state()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, say a responder in the same process, may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                work()
        except BaseException:
            # A failed capture leaves its stream in place, and the random numbers of the whole process
            # waiting for its end.
            torch.cuda.set_stream(current)
            with contextlib.suppress(RuntimeError):  # what is raised is why the capture failed
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
MakeFixed = Callable[[Sequence[TokenBlock]], FixedPass]


class RecordedPasses:
    """The recordings for one set of caches, at most one for each number of parts.

    make_fixed: makes the pass to record, for the caches of blocks; ordinary: runs blocks without recordings,
    P(active) (wanted,) of each.
    """

    def __init__(self, recorder: Recorder, make_fixed: MakeFixed, ordinary: Ordinary) -> None:
        self._recorder, self._make_fixed, self._ordinary = recorder, make_fixed, ordinary
        self._fixed: FixedPass | None = None
        self._recordings: dict[int, tuple[tuple[object, ...], Callable[[], None]]] = {}  # and where they read

    def __len__(self) -> int:
        """How many recordings there are to use."""
        return len(self._recordings) if self.usable else 0

    @property
    def usable(self) -> bool:
        return self._recorder.failure is None

    @torch.inference_mode()
    def run(self, blocks: Sequence[TokenBlock]) -> list[NDArray[np.float32]]:
        """P(active) (answers,) of each query, from one block of all its slots."""
        parts = parts_needed(blocks)
        fixed = self._fixed_for(blocks)
        if not self._recorded(fixed, parts) and not self._record(fixed, blocks, parts):
            return self._ordinary(blocks)
        fixed.fill(blocks)
        self._recordings[parts][1]()
        return list(fixed.answers())

    @torch.inference_mode()
    def prepare(self, blocks: Sequence[TokenBlock]) -> None:
        """Record the pass over prompts as long as these, unless that has been done."""
        parts, fixed = parts_needed(blocks), self._fixed_for(blocks)
        if not self._recorded(fixed, parts):
            self._record(fixed, blocks, parts)

    def _recorded(self, fixed: FixedPass, parts: int) -> bool:
        """Whether there is a recording of this pass that reads where the caches are."""
        return parts in self._recordings and self._recordings[parts][0] == fixed.places(parts)

    def _fixed_for(self, blocks: Sequence[TokenBlock]) -> FixedPass:
        if self._fixed is None or not self._fixed.serves(blocks):
            self._recordings.clear()
            self._fixed = self._make_fixed(blocks)
        return self._fixed

    def _record(self, fixed: FixedPass, blocks: Sequence[TokenBlock], parts: int) -> bool:
        """Record and check; False, and no recording is used any more, if something is wrong with it."""
        try:
            # Other ids than in the check, and nothing left of them: a replay has to do all by itself.
            fixed.fill([replace(block, ids=np.zeros_like(block.ids)) for block in blocks])
            replay = self._recorder.record(lambda: fixed.run(parts))
            fixed.erase()
            fixed.fill(blocks)
            replay()
            answers = fixed.answers()
        except Exception as error:  # whatever it is: passes can do without
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self._give_up(f"capturing one failed ({reason})")
            return False
        difference = float(np.abs(answers - np.stack(self._ordinary(blocks))).max())
        if not difference <= _TOLERANCE[fixed.dtype]:  # also when it is NaN
            self._give_up(f"a replay was off by {difference:.3g} in P(active)")
            return False
        self._recordings[parts] = (fixed.places(parts), replay)
        return True

    def _give_up(self, reason: str) -> None:
        self._recorder.failure = reason
        self._recordings.clear()
        self._fixed = None
        _LOG.warning(
            "CUDA graphs are not used: %s. Decisions are right but slower; set cuda_graphs to false to "
            "silence this.",
            reason,
        )
