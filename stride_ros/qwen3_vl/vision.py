"""The vision tower of Qwen3-VL for frame pairs of one size: features of a pair, including DeepStack's.

It computes the same as the tower in transformers, with everything that depends only on the grid computed
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F

from stride_ros.qwen3_vl.architecture import VisionShape
from stride_ros.qwen3_vl.patches import CELL, MERGE, PAIR, PATCH
from stride_ros.qwen3_vl.rotary import rotate

_ROPE_THETA = 10000.0
_NORM_EPS = 1e-6


class Weights(Protocol):
    """A source of tensors: a checkpoint's files, or random numbers for a benchmark."""

    def has(self, name: str) -> bool: ...

    def tensor(self, name: str, *shape: int) -> torch.Tensor: ...


@dataclass(frozen=True)
class PairFeatures:
    """One encoded frame pair.

    `tokens` (T, hidden) replace its video tokens, `deepstack[i]` (T, hidden) is added to them after language
    layer i; T = rows * columns cells of 32 x 32 pixels.
    """

    rows: int
    columns: int
    tokens: torch.Tensor
    deepstack: tuple[torch.Tensor, ...]

    @property
    def all(self) -> tuple[torch.Tensor, ...]:
        return (self.tokens, *self.deepstack)

    @property
    def memory_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in self.all)


class _Linear:
    """A linear layer for rows (n, inputs); the matrix is a transposed view, as the product needs it."""

    def __init__(self, weights: Weights, name: str, inputs: int, outputs: int) -> None:
        self.weight = weights.tensor(f"{name}.weight", outputs, inputs).t()
        self.bias = weights.tensor(f"{name}.bias", outputs)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x, self.weight)


class _Norm:
    def __init__(self, weights: Weights, name: str, size: int) -> None:
        self.weight, self.bias = weights.tensor(f"{name}.weight", size), weights.tensor(f"{name}.bias", size)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, _NORM_EPS)


class _Merger:
    """2 x 2 patches become one token of the language model's width."""

    def __init__(self, weights: Weights, name: str, shape: VisionShape, norm_after: bool) -> None:
        self.width = shape.hidden * MERGE * MERGE
        self.norm_after = norm_after
        self.norm = _Norm(weights, f"{name}.norm", self.width if norm_after else shape.hidden)
        self.first = _Linear(weights, f"{name}.linear_fc1", self.width, self.width)
        self.second = _Linear(weights, f"{name}.linear_fc2", self.width, shape.output)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        merged = (-1, self.width)
        x = self.norm(x.view(merged)) if self.norm_after else self.norm(x).view(merged)
        return self.second(F.gelu(self.first(x)))


class _Block:
    def __init__(self, weights: Weights, name: str, shape: VisionShape) -> None:
        self.heads = shape.heads
        self.norm1 = _Norm(weights, f"{name}.norm1", shape.hidden)
        self.norm2 = _Norm(weights, f"{name}.norm2", shape.hidden)
        self.qkv = _Linear(weights, f"{name}.attn.qkv", shape.hidden, 3 * shape.hidden)
        self.proj = _Linear(weights, f"{name}.attn.proj", shape.hidden, shape.hidden)
        self.up = _Linear(weights, f"{name}.mlp.linear_fc1", shape.hidden, shape.intermediate)
        self.down = _Linear(weights, f"{name}.mlp.linear_fc2", shape.intermediate, shape.hidden)

    def __call__(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Replace x (batch * patches, width) by the block's output; rotary tables (patches, head size)."""
        qkv = self.qkv(self.norm1(x)).view(-1, len(cos), 3 * self.heads, cos.shape[1]).transpose(1, 2)
        rotated = qkv[:, : 2 * self.heads]
        rotate(rotated, cos, sin, out=rotated)
        q, k, v = qkv.split_with_sizes([self.heads] * 3, 1)
        attended = F.scaled_dot_product_attention(q, k, v)
        x += self.proj(attended.transpose(1, 2).reshape(x.shape))
        x += self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x


def patches_of(pairs: torch.Tensor) -> torch.Tensor:
    """Convert frame pairs (B, 2, H, W, 3) uint8 to patches (B, H/16 * W/16, 1536) float32 on the device.

    It does the same as `patches` in `patches.py` on the host, but only a quarter of the bytes is uploaded.
    """
    batch, _, height, width, channels = pairs.shape
    rows, columns = height // CELL, width // CELL
    split = pairs.view(batch, PAIR, rows, MERGE, PATCH, columns, MERGE, PATCH, channels)
    ordered = split.permute(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(batch, -1, channels * PAIR * PATCH * PATCH)
    return ordered.float().div_(127.5).sub_(1.0)


class VisionTower:
    """Encodes frame pairs; the result depends only on the pair, so caches and queries share it."""

    def __init__(self, shape: VisionShape, weights: Weights) -> None:
        self._shape = shape
        self._patch_weight = weights.tensor(
            "vision.patch_embed.proj.weight", shape.hidden, 3, PAIR, PATCH, PATCH
        )
        self._patch_weight = self._patch_weight.reshape(shape.hidden, -1).t()
        self._patch_bias = weights.tensor("vision.patch_embed.proj.bias", shape.hidden)
        self._positions = weights.tensor("vision.pos_embed.weight", shape.positions, shape.hidden)
        self._blocks = [_Block(weights, f"vision.blocks.{i}", shape) for i in range(shape.layers)]
        self._merger = _Merger(weights, "vision.merger", shape, norm_after=False)
        self._deepstack = {
            layer: _Merger(weights, f"vision.deepstack_merger_list.{i}", shape, norm_after=True)
            for i, layer in enumerate(shape.deepstack)
        }
        self.grid = lru_cache(maxsize=8)(self._compute_grid)

    def encode(self, patches: torch.Tensor, rows: int, columns: int) -> list[PairFeatures]:
        """Features of B pairs: patches (B, 4 * rows * columns, 1536), rows and columns in cells of 32 px."""
        return self.of_pairs(self.features(patches, rows, columns), rows, columns)

    def features(self, patches: torch.Tensor, rows: int, columns: int) -> list[torch.Tensor]:
        """Features of B pairs, (B * rows * columns, hidden) each: those for DeepStack, then the tokens."""
        embedded, cos, sin = self.grid(rows, columns)
        x = torch.addmm(self._patch_bias, patches.flatten(0, 1), self._patch_weight)
        x.view(len(patches), *embedded.shape).add_(embedded)
        stack = []
        for layer, block in enumerate(self._blocks):
            x = block(x, cos, sin)
            if layer in self._deepstack:
                stack.append(self._deepstack[layer](x))
        stack.append(self._merger(x))
        return stack

    def of_pairs(self, stack: Sequence[torch.Tensor], rows: int, columns: int) -> list[PairFeatures]:
        """Split the result of `features` by pair."""
        of_pairs = zip(*(torch.split(features, rows * columns) for features in stack), strict=True)
        return [PairFeatures(rows, columns, tokens, tuple(deepstack)) for *deepstack, tokens in of_pairs]

    def _compute_grid(self, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Learned positions resampled to the grid, and rotary tables; both in the order of patches."""
        height, width = rows * MERGE, columns * MERGE
        order = torch.arange(height * width).view(rows, MERGE, columns, MERGE).transpose(1, 2).reshape(-1)
        side = int(self._shape.positions**0.5)
        table = self._positions.float().view(1, side, side, -1).permute(0, 3, 1, 2)
        resampled = F.interpolate(table, size=(height, width), mode="bilinear", align_corners=True)
        order = order.to(resampled.device)
        embedded = resampled[0].flatten(1).T[order].to(self._positions.dtype)
        spatial = self._shape.hidden // self._shape.heads // 2
        frequency = 1.0 / _ROPE_THETA ** (torch.arange(0, spatial, 2, dtype=torch.float32) / spatial)
        frequency = frequency.to(order.device)
        angles = torch.cat(
            ((order // width)[:, None] * frequency, (order % width)[:, None] * frequency), dim=-1
        )
        angles = torch.cat((-angles, angles), dim=-1)
        return embedded, angles.cos(), angles.sin()
