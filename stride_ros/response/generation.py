"""Streamed generation with a Hugging Face model: it yields text increments and can be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextStreamer

from stride_ros.process.threads import use_threads


class StreamedGeneration:
    """Runs `model.generate` on a separate thread and yields the text as it grows.

    It uses one thread during its lifetime: on a CPU, every new thread would start its own pool of `threads`
    workers.
    """

    def __init__(
        self, model: Any, tokenizer: Any, settings: dict[str, Any], threads: int | None = None
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._settings = settings
        self._threads = threads
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stride-generate")
        self.last_tokens = 0

    def stream(self, inputs: dict[str, Any], cancelled: Callable[[], bool]) -> Iterator[str]:
        """Yield the generated text in increments; exceptions of `generate` are raised here."""
        pieces: Queue[str | None] = Queue()
        abandoned = threading.Event()
        streamer = _QueueStreamer(self._tokenizer, pieces)
        stop = _StopWhen(lambda: abandoned.is_set() or cancelled())
        running = self._thread.submit(self._generate, inputs, streamer, stop, pieces)
        try:
            while (piece := pieces.get()) is not None:
                if piece:
                    yield piece
        finally:  # also when the caller drops the iterator: the model must not keep running
            abandoned.set()
            _wait(running)
            self.last_tokens = streamer.tokens
        running.result()

    def close(self) -> None:
        """Stop the thread and release the model."""
        self._thread.shutdown(wait=True)
        self._model = self._tokenizer = None

    def _generate(
        self,
        inputs: dict[str, Any],
        streamer: TextStreamer,
        stop: StoppingCriteria,
        pieces: Queue[str | None],
    ) -> None:
        use_threads(self._threads)
        try:
            with torch.inference_mode():
                self._model.generate(
                    **inputs,
                    **self._settings,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([stop]),
                )
        finally:
            pieces.put(None)


class _QueueStreamer(TextStreamer):  # type: ignore[misc]
    """Puts each finished word into a queue and counts tokens."""

    def __init__(self, tokenizer: Any, pieces: Queue[str | None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._pieces = pieces
        self.tokens = -1  # the prompt comes first and is counted as one

    def put(self, value: Any) -> None:
        self.tokens += 1
        super().put(value)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._pieces.put(text)


class _StopWhen(StoppingCriteria):  # type: ignore[misc]
    """Ends generation after the current token once `condition` is true."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        return torch.full((input_ids.shape[0],), self._condition(), device=input_ids.device, dtype=torch.bool)


def _wait(running: Future[None]) -> None:
    running.exception()
