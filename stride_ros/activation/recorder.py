"""Record work on a device, to launch all of it at once: on a GPU as a CUDA graph."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch

_LOG = logging.getLogger(__name__)
_CAPTURING = threading.Lock()  # PyTorch allows one capture at a time in a process
_HIGH = -1  # priority of a stream
_WARM_UPS = 3  # runs before a capture: kernels are loaded, libraries take their workspace
# How far P(active) of a replay may be from that of an ordinary pass, whose kernels round differently: a few
# times the difference between two orders of summation on a CPU (0.02 in bfloat16 with random weights in the
# 2B model's shape).
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.1}


class Recorder(Protocol):
    """Records work on tensors that stay where they are.

    failure: why recordings are no longer used, None while they are. It outlives a stream, so that a device on
    which recording fails is tried only once.
    """

    failure: str | None

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return a function that repeats this work; recording it may also run the work."""


class CudaRecorder:
    """Captures CUDA graphs on one device.

    The graphs share one memory pool for everything between their fixed inputs and outputs; they are replayed
    one at a time.
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
                # The kernels of a graph have the priority of the stream on which it was captured.
                self._side = torch.cuda.Stream(priority=_HIGH)  # type: ignore[no-untyped-call]
            if not self._alive:  # PyTorch refuses a pool whose graphs are all gone
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
        finally:  # also after a failure, since started work writes to memory that others use
            current.wait_stream(side)
        side.synchronize()  # the warm-ups' inputs may be overwritten now

    def _capture(self, work: Callable[[], None], side: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        untouched = generator.clone_state()
        graph = torch.cuda.CUDAGraph()
        try:
            # Not torch.cuda.graph, which waits for the whole device and frees all memory that PyTorch caches,
            # in the middle of a tick. Other threads, such as a responder in the same process, may use the
            # device meanwhile.
            with torch.cuda.stream(side):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    work()
                except BaseException:
                    with contextlib.suppress(RuntimeError):  # the error to raise is the one of the capture
                        graph.capture_end()
                    raise
                graph.capture_end()
        except BaseException:
            # A failed capture leaves the process's random number generator waiting for the capture to end.
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


def give_up(recorder: Recorder, why: str) -> None:
    """Stop using this recorder's recordings, and log that once."""
    recorder.failure = why
    _LOG.warning(
        "CUDA graphs are not used: %s. Decisions are correct but slower; set cuda_graphs to false to silence "
        "this warning.",
        why,
    )


def reason(error: Exception) -> str:
    """The first line of an exception's message, for use in a sentence."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
