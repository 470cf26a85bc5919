"""Slot passes of several watches whose shapes and addresses never change, so that they can be captured.

All slots of all watches run in every pass. Labels, positions, prompt lengths and the page table come from one
device buffer that is filled beforehand, and the keys and values of slots are not cached. So one capture
serves any watches, up to their number at capture, whose prompts have up to the same number of pages.

A pass ends as a denoising step does: it unmasks the most confident slots. The next pass continues from there,
so that the host waits only once for all steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stride_ros.activation.window import ACTIVE, INACTIVE, MASKED, Labels
from stride_ros.qwen3_vl.attention import HIDDEN, attend_with_weight
from stride_ros.qwen3_vl.decoder import TextDecoder, TokenBlock
from stride_ros.qwen3_vl.kv_cache import ALIGNED
from stride_ros.qwen3_vl.paged_cache import PageAttention, PagedCache

__all__ = ["FixedPass", "SlotRows"]

_HIDDEN = HIDDEN


@dataclass(frozen=True, eq=False)
class SlotRows:
    """What one watch runs: passes over all its slots, after its prompt in a paged cache.

    block: all slots as an ordinary pass takes them; labels (W,): their labels; budgets: how many slots to
    unmask after each pass; empty for one pass that unmasks nothing.
    """

    block: TokenBlock
    labels: Labels
    budgets: tuple[int, ...] = ()

    @property
    def passes(self) -> int:
        return max(1, len(self.budgets))

    @property
    def pages(self) -> int:
        """The number of pages that the prompt occupies."""
        return -(-self.block.start // self.cache.part)

    @property
    def cache(self) -> PagedCache:
        assert isinstance(self.block.cache, PagedCache), "recorded passes read pages"
        return self.block.cache


class FixedPass:
    """Passes over the slots of up to `watches` watches, each with a prompt of up to `pages` pages.

    head (2, hidden): rows of the output head for inactive and active; slot_ids (3,): token ids of the labels;
    window: W, which the prompt holds `copies` times; attention: reads the pages.
    """

    def __init__(
        self,
        decoder: TextDecoder,
        head: torch.Tensor,
        slot_ids: NDArray[np.int64],
        window: int,
        copies: int,
        attention: PageAttention,
        watches: int,
        pages: int,
    ) -> None:
        self._decoder, self._head, self._attention = decoder, head, attention
        self._window, self._copies, self._watches = window, copies, watches
        self._slots = copies * window
        device = decoder.device
        sizes = {
            "labels": (watches, window),
            "lengths": (watches,),
            "positions": (watches,),
            "table": (watches, pages),
            "budgets": (window, watches),  # by pass: at most one pass per slot can unmask anything
            "step": (1,),
        }
        numbers = [math.prod(size) for size in sizes.values()]
        filled = torch.zeros(sum(numbers), dtype=torch.int64, pin_memory=device.type == "cuda")
        self._filled, self._inputs = filled, torch.zeros_like(filled, device=device)
        self._host, self._device = (
            {name: part.view(size) for (name, size), part in zip(sizes.items(), parts, strict=True)}
            for parts in (torch.split(filled, numbers), torch.split(self._inputs, numbers))
        )
        self._rows = {name: part.numpy() for name, part in self._host.items()}
        self._answers = torch.zeros((window, watches, window), device=device)  # by pass
        self._ids, self._slot_ids = slot_ids, torch.from_numpy(slot_ids).to(device)
        self._steps = torch.arange(self._slots, device=device)
        self._earlier = torch.ones((window, window), dtype=torch.bool, device=device).tril(-1)
        padded = torch.arange(-(-self._slots // ALIGNED) * ALIGNED, device=device)
        # Slots see themselves and those before them: (slots, slots with padding).
        self._later = (padded > self._steps[:, None]).to(decoder.dtype) * _HIDDEN

    @property
    def dtype(self) -> torch.dtype:
        """The number type in which the pass is computed."""
        return self._decoder.dtype

    def fill(self, rows: Sequence[SlotRows]) -> None:
        """Set what the next passes run; places beyond these watches hold an empty prompt."""
        host = self._rows
        for part in host.values():
            part.fill(0)
        for index, row in enumerate(rows):
            host["labels"][index] = row.labels
            host["lengths"][index] = row.block.start
            host["positions"][index] = row.block.positions[0, 0]
            entries = self._attention.entries(row.cache.pages[: row.pages])
            host["table"][index, : len(entries)] = entries
            host["budgets"][: len(row.budgets), index] = row.budgets
        self._inputs.copy_(self._filled, non_blocking=True)  # done when `answers` returns

    def relabelled(self, row: SlotRows, labels: Labels) -> SlotRows:
        """The same watch with other labels and half of its slots to unmask."""
        ids = np.tile(self._ids[labels], self._copies)
        return SlotRows(replace(row.block, ids=ids), labels, (self._window // 2,))

    def answers(self, passes: int) -> NDArray[np.float32]:
        """Wait for the passes since `fill`; return their P(active) (passes, watches, W)."""
        values: NDArray[np.float32] = self._answers[:passes].cpu().numpy().copy()
        return values

    def labels(self) -> NDArray[np.int64]:
        """Wait for the passes since `fill`; return the labels (watches, W) after them."""
        values: NDArray[np.int64] = self._device["labels"].cpu().numpy().copy()
        return values

    def erase(self) -> None:
        """Make the answers of the last passes unusable."""
        self._answers.fill_(math.nan)

    def run(self) -> None:
        """Run the next pass over what was filled in, and unmask its slots."""
        device, step = self._device, self._device["step"]
        probabilities = self._pass(device["labels"], device["positions"], device["lengths"], device["table"])
        self._answers.index_copy_(0, step, probabilities[None])
        self._unmask(device["labels"], probabilities, device["budgets"].index_select(0, step)[0])
        step.add_(1).clamp_(max=self._window - 1)  # warm-ups may outnumber the slots

    def _pass(
        self, labels: torch.Tensor, position: torch.Tensor, lengths: torch.Tensor, table: torch.Tensor
    ) -> torch.Tensor:
        """P(active) (watches, W)."""
        decoder, watches, n = self._decoder, self._watches, self._slots
        ids = self._slot_ids.index_select(0, labels.view(-1)).view(watches, -1).repeat(1, self._copies)
        x = decoder.embedding.index_select(0, ids.view(-1))
        # The axes of a slot's position agree in both position schemes.
        cos, sin = decoder.rotary.at_same((position[:, None] + self._steps).view(-1))
        wanted = n
        for index, layer in enumerate(decoder.layers):
            heads, keys_values = layer.project(x, cos, sin)
            q = heads[0].view(-1, watches, n, heads.shape[-1])
            if index == len(decoder.layers) - 1:  # all keys and values are there: go on with the wanted rows
                wanted = self._window  # only the last copy answers
                x = x.view(watches, n, -1)[:, n - wanted :].flatten(0, 1)
                q = q[:, :, n - wanted :]
            own = keys_values[0].view(-1, watches, n, heads.shape[-1]).transpose(0, 1)
            x = layer.finish(x, self._attend(index, q.transpose(0, 1), own, table, lengths))
        logits = F.linear(decoder.norm(x), self._head).float()
        return torch.softmax(logits, dim=-1)[:, 1].view(watches, wanted)

    def _attend(
        self, layer: int, q: torch.Tensor, own: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Attention of each watch's last slots to its prompt and its slots: (watches * n, heads * size).

        q: (watches, heads, n, size) of the last slots; kv: keys, then values, of all slots (watches, 2 * kv
        heads, slots, size).
        """
        watches, heads, n, size = q.shape
        kv_heads = own.shape[1] // 2
        # The query heads that share a key head are rows of one product.
        rows = q.reshape(watches, kv_heads, -1, size)
        outs, weights = self._attention(layer, rows, table, lengths)
        keys, values = F.pad(own, (0, 0, 0, self._later.shape[1] - own.shape[2])).chunk(2, 1)
        hidden = self._later[self._slots - n :].repeat(heads // kv_heads, 1)
        out, weight = attend_with_weight(rows, keys, values, hidden.expand(watches, kv_heads, -1, -1))
        share = torch.softmax(torch.cat((weights, weight[:, None]), 1), 1)[..., None]
        merged = (outs * share[:, :-1]).sum(1) + out * share[:, -1]
        merged = merged.to(q.dtype).view(watches, kv_heads, heads // kv_heads, n, size)
        return merged.permute(0, 3, 1, 2, 4).reshape(watches * n, heads * size)

    def _unmask(self, labels: torch.Tensor, probabilities: torch.Tensor, budgets: torch.Tensor) -> None:
        """Unmask the most confident slots of each watch (watches, W), `budgets` (watches,) of them.

        As in `denoising.select` with `topk`, the earlier of equals comes first.
        """
        masked = labels == MASKED
        confidence = torch.where(masked, torch.maximum(probabilities, 1 - probabilities), -1.0)
        mine, other = confidence[:, :, None], confidence[:, None, :]
        before = (other > mine) | ((other == mine) & self._earlier)
        chosen = masked & (before.sum(-1) < budgets[:, None])
        found = torch.where(probabilities > 0.5, ACTIVE, INACTIVE)
        labels.copy_(torch.where(chosen, found, labels))
