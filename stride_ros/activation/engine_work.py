"""What an engine runs on its model: vision, appends and passes, each as one batch, with their timings."""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.denoising import Answer, SlotPass
from stride_ros.activation.fixed_pass import SlotRows
from stride_ros.activation.graphs import RecordedPasses, replayed
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair
from stride_ros.activation.stream import Stream
from stride_ros.activation.watch import ActivationUpdate, Decision, Watch
from stride_ros.qwen3_vl.decoder import TokenBlock, joined

_ENCODED_AT_ONCE = 8  # frame pairs; more only costs memory
_TOKENS_AT_ONCE = 2048  # tokens of deferred work; on a CPU more only costs memory

Job = tuple[Stream, Watch]  # a watch that is due to decide


class EngineWork:
    """Runs batches for any streams and watches.

    `config` is the engine's. `ran`: tokens that were run, reset by the engine. `timings`: seconds since the
    last decision, by kind.
    """

    def __init__(self, model: ActivationModel, config: ActivationConfig) -> None:
        self.config = config
        self.ran = 0
        self.timings: dict[str, float] = {}
        self._model = model

    def encode(self, pairs: Sequence[FramePair]) -> list[FramePair]:
        """The pairs with their features: one batch for each frame size."""
        begin = clock.perf_counter()
        sizes: dict[tuple[int, ...], list[int]] = {}
        for index, pair in enumerate(pairs):
            sizes.setdefault(pair.images[0].shape, []).append(index)
        encoded, encode = list(pairs), self._model.encode
        if self._model.recorder is not None and self.config.cuda_graphs:
            encode = self._model.recorded_vision(self._model.recorder).encode
        for indices in sizes.values():
            for first in range(0, len(indices), _ENCODED_AT_ONCE):
                batch = indices[first : first + _ENCODED_AT_ONCE]
                features = encode([pairs[index].images for index in batch])
                for index, value in zip(batch, features, strict=True):
                    encoded[index] = replace(pairs[index], features=value)
        self.add_time("vision", clock.perf_counter() - begin)
        return encoded

    def _fill(self, watches: Sequence[Watch]) -> list[TokenBlock]:
        """Do the deferred work of these watches; return the last blocks, which run with the first pass."""
        begin = clock.perf_counter()
        waiting = list({id(pair): pair for watch in watches for pair in watch.passes.waiting}.values())
        for pair, encoded in zip(waiting, self.encode(waiting), strict=True):
            assert encoded.features is not None
            pair.encode_as(encoded.features)
        portion: list[TokenBlock] = []
        for block in [block for watch in watches for block in watch.passes.fill()]:
            if portion and sum(len(other.ids) for other in [*portion, block]) > _TOKENS_AT_ONCE:
                self.run(portion, ())
                portion = []
            portion.append(block)
            self.ran += len(block.ids)
        self.add_time("total", clock.perf_counter() - begin)
        return portion

    def run(self, blocks: Sequence[TokenBlock], watches: Iterable[Watch]) -> None:
        """Append these watches' blocks."""
        begin = clock.perf_counter()
        if blocks:
            self._model.append(blocks)
        for watch in watches:
            watch.passes.settle()
        self.add_time("append", clock.perf_counter() - begin)

    def decide(self, jobs: Sequence[Job], appends: Sequence[TokenBlock] = ()) -> tuple[ActivationUpdate, ...]:
        """Run the decisions in step, so that each pass serves all that still need one.

        The blocks of `appends` run with the first pass.
        """
        appends = [*appends, *self._fill([watch for _, watch in jobs])]
        begin, appended = clock.perf_counter(), self.timings.get("append", 0.0)
        timings: dict[str, float] = {}
        decisions: list[Decision] = []
        for stream, watch in jobs:
            usable = stream.usable(watch)
            now = watch.context.time(usable - 1)
            decisions.append(watch.decide(usable, self.config, now, timings))
        updates: dict[int, ActivationUpdate] = {}
        requests: dict[int, SlotPass] = {}

        def resume(index: int, answer: Answer) -> None:
            try:
                decision = decisions[index]
                requests[index] = decision.send(answer)
            except StopIteration as done:
                requests.pop(index, None)
                updates[index] = done.value

        for index in range(len(decisions)):
            resume(index, None)
        while requests:
            # Single passes, which are baselines, come first: then the steps of all watches run together.
            first = [i for i in requests if not requests[i].budgets] or list(requests)
            asked = {i: (jobs[i][1], requests[i]) for i in first}
            for index, answer in self._pass(asked, appends).items():
                resume(index, answer)
            appends = ()
        self.run(appends, ())  # no decision needed a pass
        appended = self.timings.get("append", 0.0) - appended
        self._report(timings, jobs, clock.perf_counter() - begin, appended)
        return tuple(updates[index] for index in range(len(decisions)))

    def _pass(
        self, asked: Mapping[int, tuple[Watch, SlotPass]], appends: Sequence[TokenBlock]
    ) -> dict[int, Answer]:
        """Run one pass over the slots of these watches, or all that they request at once, after `appends`.

        Returns the answer to each.
        """
        blocks: dict[int, TokenBlock] = {}
        rows: dict[int, tuple[RecordedPasses, SlotRows]] = {}
        for index, (watch, request) in asked.items():
            block = watch.passes.ask(request)
            if block is None:
                continue
            blocks[index] = block
            self.ran += len(block.ids) * max(1, len(request.budgets))
            if (recorded := watch.passes.recordings) is not None:
                rows[index] = recorded, SlotRows(block, request.labels, request.budgets)
        values = replayed(rows)
        batch = {i: b for i, b in blocks.items() if i not in values and not asked[i][1].budgets}
        if batch:
            begin, run = clock.perf_counter(), [*appends, *batch.values()]
            others, passes = joined(appends, list(batch.values()))
            answers = self._model.slot_probabilities([*others, *passes])[len(others) :]
            share = sum(len(block.ids) for block in appends) / sum(len(block.ids) for block in run)
            self.add_time("append", share * (clock.perf_counter() - begin))
            values.update(zip(batch, answers, strict=True))
        else:
            self.run(appends, ())
        refused = blocks.keys() - values.keys()
        return {
            index: None if index in refused else watch.passes.answer(values.get(index))
            for index, (watch, _) in asked.items()
        }

    def _report(
        self, timings: dict[str, float], jobs: Sequence[Job], seconds: float, appended: float
    ) -> None:
        """Add the time spent since the previous decision.

        `seconds` were spent in this one, `appended` of them on appends.
        """
        inside: dict[str, float] = {}
        for _, watch in jobs:  # a prompt may also encode and append when asked
            for name, value in watch.passes.timings.items():
                inside[name] = inside.get(name, 0.0) + value
            watch.passes.timings.clear()
        total = self.timings.pop("total", 0.0) + seconds
        timings.update({"preprocess": 0.0, "vision": 0.0, "append": 0.0, **self.timings})
        for name, value in inside.items():
            timings[name] += value
        timings.update(denoise=seconds - appended - sum(inside.values()), total=total)
        self.timings.clear()

    def add_time(self, name: str, seconds: float) -> None:
        """Count seconds of a kind of work."""
        self.timings[name] = self.timings.get(name, 0.0) + seconds
