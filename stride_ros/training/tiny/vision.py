"""Warm up the vision tower: learn from each frame pair of a clip what is true in its two frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from stride_ros.qwen3_vl.patches import CELL, MERGE, patches
from stride_ros.training.tiny.clips import Clip, facts, frame_facts

_BRIGHTNESS = 0.15  # augmentation: brightness and contrast vary by this much
_TWICE = 0.4  # fraction of pairs that show one frame twice, as in every second decision of a live stream
_AT_CHANGES = 0.5  # fraction of pairs drawn where something begins or ends, which are the hard cases
Progress = Callable[[str], None]


def encode_pairs(visual: nn.Module, pixels: torch.Tensor, rows: int, columns: int) -> list[torch.Tensor]:
    """Features of B frame pairs of one size, with gradients: [tokens, deepstack 0, ...], each (B, T, hidden).

    pixels: (B, patches, 1536) in the order of `activation.frames.patches`; `rows` and `columns` count cells
    of 32 pixels. The tower of transformers takes one pair at a time; this runs its layers over the batch.
    """
    module: Any = visual
    cos, sin, positions = _grid(module, rows, columns)
    weight = module.patch_embed.proj.weight
    x = F.linear(pixels, weight.flatten(1), module.patch_embed.proj.bias) + positions
    stack = []
    for index, block in enumerate(module.blocks):
        attention = block.attn
        qkv = attention.qkv(block.norm1(x)).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = _rotate(qkv[0], cos, sin), _rotate(qkv[1], cos, sin)
        attended = F.scaled_dot_product_attention(q, k, qkv[2]).transpose(1, 2).flatten(2)
        x = x + attention.proj(attended)
        x = x + block.mlp(block.norm2(x))
        if index in module.deepstack_visual_indexes:
            merger = module.deepstack_merger_list[module.deepstack_visual_indexes.index(index)]
            stack.append(merger(x).unflatten(0, (len(x), -1)))
    return [module.merger(x).unflatten(0, (len(x), -1)), *stack]


def _grid(module: Any, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rotary tables (P, d) and learned positions (P, hidden) of a grid, in patch order."""
    height, width = rows * MERGE, columns * MERGE
    order = torch.arange(height * width).view(rows, MERGE, columns, MERGE).transpose(1, 2).reshape(-1)
    side = module.num_grid_per_side
    table = module.pos_embed.weight.view(1, side, side, -1).permute(0, 3, 1, 2)
    positions = F.interpolate(table, size=(height, width), mode="bilinear", align_corners=True)
    frequency = module.rotary_pos_emb.inv_freq
    angles = torch.cat(((order // width)[:, None] * frequency, (order % width)[:, None] * frequency), dim=-1)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin(), positions[0].flatten(1).T[order]


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    real, imaginary = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-imaginary, real), dim=-1) * sin


class PairSet:
    """Frame pairs of many clips as pixels on demand: pair k is (frame k, frame k+1), or frame k twice."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = clips
        self.rows, self.columns = (side // CELL for side in clips[0].frames.shape[1:3])
        self.facts = [frame_facts(clip) for clip in clips]
        # Pairs around each change: the one that contains the change and its two neighbours.
        changes = [np.flatnonzero(np.diff(facts, axis=0).any(axis=1)) for facts in self.facts]
        self._changes = [_near(places, len(clips[0].frames) - 1) for places in changes]

    def draw(self, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (count, P, 1536) of random pairs and the facts (count, 2, F) of their two frames."""
        pixels, truth = [], []
        for _ in range(count):
            c = int(rng.integers(len(self.clips)))
            clip = self.clips[c]
            changes = self._changes[c]
            if len(changes) and rng.random() < _AT_CHANGES:
                first = int(changes[rng.integers(len(changes))])
            else:
                first = int(rng.integers(len(clip.frames) - 1))
            second = first if rng.random() < _TWICE else first + 1
            pixels.append(patches(clip.frames[first], clip.frames[second]))
            truth.append(self.facts[c][[first, second]])
        batch = torch.from_numpy(np.stack(pixels))
        contrast = 1 + _BRIGHTNESS * (2 * torch.rand(count, 1, 1) - 1)
        shift = _BRIGHTNESS * (2 * torch.rand(count, 1, 1) - 1)
        return (batch * contrast + shift).clamp(-1, 1), torch.from_numpy(np.stack(truth))


def _near(changes: NDArray[np.int64], pairs: int) -> NDArray[np.int64]:
    """Indices of the pairs at most one away from `changes`, of `pairs` in total."""
    around = (changes[:, None] + np.arange(-1, 2)).ravel()
    return np.unique(around[(around >= 0) & (around < pairs)])


class FactHead(nn.Module):
    """Reads the facts of both frames from the features of a pair: each cell can indicate a fact."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        heads = [nn.Linear(width, 2 * len(facts())) for _ in range(features)]
        self.heads = nn.ModuleList(heads)
        for head in heads:
            nn.init.constant_(head.bias, -4.0)  # most facts are false most of the time

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits (features, B, 2, F), one reading from each set of features."""
        readings = [head(x).logsumexp(dim=1) for head, x in zip(self.heads, features, strict=True)]
        stacked = torch.stack(readings)
        return stacked.view(*stacked.shape[:-1], 2, -1)


def warm_up_vision(
    visual: nn.Module,
    clips: Sequence[Clip],
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    say: Progress,
) -> FactHead:
    """Train `visual` (and a head that is discarded) to predict the facts of single frame pairs."""
    pairs = PairSet(clips)
    rng = np.random.default_rng([0x51, seed])
    features = 1 + len(visual.deepstack_visual_indexes)  # type: ignore[arg-type]
    head = FactHead(visual.config.out_hidden_size, features)  # type: ignore[union-attr, arg-type]
    parameters = [*visual.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=steps, pct_start=0.05
    )
    for step in range(1, steps + 1):
        pixels, truth = pairs.draw(batch, rng)
        logits = head(encode_pairs(visual, pixels, pairs.rows, pairs.columns))
        loss = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
        loss = loss.sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            say(f"vision {step}/{steps}: loss {loss.item():.3f}, F1 {_f1(logits[0], truth):.3f}")
    return head


def _f1(logits: torch.Tensor, truth: torch.Tensor) -> float:
    told, real = logits > 0, truth > 0.5
    return float(2 * (told & real).sum() / (told.sum() + real.sum()).clamp(min=1))


@torch.no_grad()
def encode_clip(visual: nn.Module, clip: Clip) -> list[NDArray[np.float32]]:
    """Features of every pair that a stream may form from a clip, each (N, 2, T, hidden).

    [k, 0] is the pair (k, k+1), [k, 1] frame k twice, as an odd tick shows it. The last frame of the clip has
    no partner: [N-1, 0] repeats [N-1, 1].
    """
    last = len(clip.frames) - 1
    rows, columns = (side // CELL for side in clip.frames.shape[1:3])
    pixels = [
        patches(clip.frames[k], clip.frames[other])
        for k in range(last + 1)
        for other in (min(k + 1, last), k)
    ]
    features = encode_pairs(visual, torch.from_numpy(np.stack(pixels)), rows, columns)
    return [x.view(-1, 2, *x.shape[1:]).numpy() for x in features]
