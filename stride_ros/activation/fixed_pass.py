"""A slot pass whose shapes and addresses never change, so that a CUDA graph can be captured from it.

All slots of all queries run in every pass. Ids, positions and lengths of prompts come from one device buffer
that is filled before; what the slots attend to is a number of equal parts of each cache, of which a mask
hides what is not valid, and the slots themselves, whose keys and values go into no cache. So the host
decides nothing inside a pass but the number of parts.

The parts are attended to independently and put together by their log-sum-exp: few rows against a long prompt
would otherwise leave most of a GPU idle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stride_ros.qwen3_vl.attention import HIDDEN, Stretch, attend_in_parts, attend_to_stretches
from stride_ros.qwen3_vl.decoder import TextDecoder, TokenBlock
from stride_ros.qwen3_vl.kv_cache import ALIGNED, KVCache

__all__ = ["FixedPass", "attend_in_parts", "parts_needed"]

_HIDDEN = HIDDEN


class FixedPass:
    """Passes over the slots behind prompts in certain caches, one cache for each query.

    answers: how many of the last rows of a query, which has all copies of the window, are answered.
    """

    def __init__(
        self, decoder: TextDecoder, head: torch.Tensor, blocks: Sequence[TokenBlock], answers: int
    ) -> None:
        self._decoder, self._head, self._answered = decoder, head, answers
        self._slots = len(blocks[0].ids)
        self._caches = [block.cache for block in blocks]
        on_cuda = decoder.device.type == "cuda"
        # Of each query: its ids, the entries of its prompt, the position of its first slot.
        filled = torch.zeros((len(blocks), self._slots + 2), dtype=torch.int64, pin_memory=on_cuda)
        self._filled, self._rows = filled, filled.numpy()
        self._inputs = torch.zeros_like(filled, device=decoder.device)
        self._output = torch.zeros((len(blocks), answers), device=decoder.device)
        self._steps = torch.arange(self._slots, device=decoder.device)
        padded = torch.arange(-(-self._slots // ALIGNED) * ALIGNED, device=decoder.device)
        # Slots see those before them and themselves, (slots, slots and what fills them up).
        self._later = self._hidden(padded > self._steps[:, None])

    @property
    def dtype(self) -> torch.dtype:
        """The number type that the pass is computed in."""
        return self._decoder.dtype

    def serves(self, blocks: Sequence[TokenBlock]) -> bool:
        """Whether these blocks are in the caches."""
        return [block.cache for block in blocks] == self._caches

    def places(self, parts: int) -> tuple[object, ...]:
        """Where a pass over so many parts reads: equal as long as what was recorded of it stays valid."""
        return tuple(cache.places(parts) for cache in self._caches)

    def fill(self, blocks: Sequence[TokenBlock]) -> None:
        """Say what the next pass runs; one block of all slots for each query."""
        for row, block in zip(self._rows, blocks, strict=True):
            row[:-2], row[-2], row[-1] = block.ids, block.start, block.positions[0, 0]
        self._inputs.copy_(self._filled, non_blocking=True)  # done when `answers` returns

    def answers(self) -> NDArray[np.float32]:
        """P(active) (queries, answers) of the last pass; waits for it."""
        values: NDArray[np.float32] = self._output.cpu().numpy().copy()
        return values

    def erase(self) -> None:
        """Make the answers of the last pass unusable."""
        self._output.fill_(math.nan)

    def run(self, parts: int) -> None:
        """The pass itself, over what was filled in: the prompts lie in the first `parts` parts."""
        decoder, n, queries = self._decoder, self._slots, len(self._caches)
        lengths, position = self._inputs[:, n], self._inputs[:, n + 1]
        x = decoder.embedding.index_select(0, self._inputs[:, :n].reshape(-1))
        # The axes of a slot's position agree in both position schemes.
        cos, sin = decoder.rotary.at_same((position[:, None] + self._steps).view(-1))
        beyond = [
            self._hidden(torch.arange(parts * cache.part, device=decoder.device) >= length)
            for cache, length in zip(self._caches, lengths, strict=True)
        ]
        wanted = n
        for index, layer in enumerate(decoder.layers):
            heads, keys_values = layer.project(x, cos, sin)
            q = heads[0].transpose(0, 1)
            q = q.view(queries, n, *q.shape[1:])
            if index == len(decoder.layers) - 1:  # all keys and values are there: on with what is wanted
                wanted = self._answered
                x = x.view(queries, n, -1)[:, n - wanted :].flatten(0, 1)
                q = q[:, n - wanted :]
            slots = zip(q, torch.split(keys_values[0], n, 1), strict=True)
            prompts = (
                self._prompt(cache, index, parts, mask, wanted)
                for cache, mask in zip(self._caches, beyond, strict=True)
            )
            attended = [
                attend_to_stretches(rows, [*prompt, self._own(own, wanted)])
                for (rows, own), prompt in zip(slots, prompts, strict=True)
            ]
            x = layer.finish(x, torch.cat(attended))
        logits = F.linear(decoder.norm(x), self._head).float()
        self._output.copy_(torch.softmax(logits, dim=-1)[:, 1].view(queries, self._answered))

    def _prompt(
        self, cache: KVCache, layer: int, parts: int, beyond: torch.Tensor, wanted: int
    ) -> list[Stretch]:
        """The prompt in its cache; `beyond` hides what lies behind it from all of the `wanted` slots."""
        stretches, first = [], 0
        for keys, values in cache.read_parts(layer, 0, parts):
            last = first + keys.shape[0] * cache.part
            stretches.append((keys, values, beyond[first:last].expand(self._group * wanted, -1)))
            first = last
        return stretches

    def _own(self, keys_values: torch.Tensor, wanted: int) -> Stretch:
        """The slots themselves, keys then values (2 * kv heads, n, size), as the last `wanted` see them."""
        rows, width = self._later.shape
        keys, values = F.pad(keys_values, (0, 0, 0, width - rows)).chunk(2)
        return keys[None], values[None], self._later[rows - wanted :].repeat(self._group, 1)

    def _hidden(self, where: torch.Tensor) -> torch.Tensor:
        return where.to(self.dtype) * _HIDDEN

    @property
    def _group(self) -> int:
        """Query heads that share a key head."""
        return self._decoder.shape.heads // self._decoder.shape.kv_heads


def parts_needed(blocks: Sequence[TokenBlock]) -> int:
    """How many parts of its cache the prompt before any of these blocks reaches into."""
    return max(-(-block.start // block.cache.part) for block in blocks)
