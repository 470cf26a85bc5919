"""The cached prompts of all queries from one context start on: they grow together and are asked together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.qwen3_vl.decoder import TokenBlock


class PromptSet:
    """One prompt for each query. Passes are recorded where `recorded` is given and works.

    prefixes: the prompts, in the order of the queries.
    """

    def __init__(
        self, model: ActivationModel, prefixes: Sequence[Prefix], recorded: RecordedPasses | None
    ) -> None:
        self._model, self.prefixes, self._recorded = model, prefixes, recorded

    @property
    def memory_bytes(self) -> int:
        """Bytes of the preallocated keys and values."""
        return sum(prefix.memory_bytes for prefix in self.prefixes)

    @property
    def next_frame(self) -> int:
        """Index in the stream of the first frame that is not appended."""
        return self.prefixes[0].next_frame

    @property
    def recordings(self) -> int:
        """How many recorded passes there are."""
        return len(self._recorded) if self._recorded is not None else 0

    def bytes_for(self, height: int, width: int) -> int:
        """Bytes of keys and values for a full context of frames of this size (model pixels)."""
        return sum(prefix.bytes_for(height, width) for prefix in self.prefixes)

    def restart(self, start: int) -> None:
        """Forget the prompts and begin again at frame `start`; memory and recordings stay."""
        for prefix in self.prefixes:
            prefix.restart(start)

    def append(self, pairs: Sequence[Pair], origin: float, keep: bool = True) -> list[TokenBlock]:
        """The blocks that append `pairs` to every prompt, see Prefix.append."""
        return [prefix.append(pairs, origin, keep) for prefix in self.prefixes] if pairs else []

    def answer(self, requests: Mapping[int, SlotPass]) -> dict[int, Probabilities]:
        """One pass for all these queries at once: P(active) (W,) of each.

        An ordinary pass runs the slots that differ from those of the last pass; a recorded one runs all slots
        of all queries, but none either if nothing differs.
        """
        recorded = self._recorded if self._recorded is not None and self._recorded.usable else None
        blocks = {
            query: self.prefixes[query].ask(request, whole=recorded is not None)
            for query, request in requests.items()
        }
        run = {query: block for query, block in blocks.items() if block is not None}
        values: dict[int, NDArray[np.float32]] = {}
        if run and recorded is not None:
            everyone = [
                run[query] if query in run else prefix.placeholder()
                for query, prefix in enumerate(self.prefixes)
            ]
            answers = recorded.run(everyone)
            values = {query: answers[query] for query in run}
        elif run:
            values = dict(zip(run, self._model.slot_probabilities(list(run.values())), strict=True))
        return {query: self.prefixes[query].answer(values.get(query)) for query in blocks}

    def record_ahead(self) -> None:
        """Record one pass that will be needed and is not recorded yet, so that no decision waits for many."""
        recorded = self._recorded
        if recorded is not None and not recorded.usable:
            self._recorded = recorded = None  # and with it the memory of what was recorded
        if recorded is None or not all(prefix.begun for prefix in self.prefixes):
            return
        blocks = [prefix.placeholder() for prefix in self.prefixes]
        parts = recorded.missing(blocks)
        if parts is not None:
            recorded.prepare(blocks, parts)
