"""One layer of the language model without the attention, which depends on how keys are stored."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.norm import RMSNorm
from stride_ros.qwen3_vl.rotary import rotate
from stride_ros.qwen3_vl.vision import Weights


class Layer:
    """Weights of one layer of Qwen3-VL's language model; projections that read the same input are joined.

    Matrices are kept as stored, and used as transposed views, (inputs, outputs).
    """

    def __init__(self, shape: TextShape, weights: Weights, name: str) -> None:
        hidden, inner, size = shape.hidden, shape.intermediate, shape.head_dim
        queries, keys = shape.heads * size, shape.kv_heads * size
        self._size, self._heads = size, [shape.heads, 2 * shape.kv_heads]
        self._rotated = shape.heads + shape.kv_heads
        self._inner = [inner, inner]

        def norm(name: str, size: int, heads: int = 0) -> torch.Tensor:
            weight = weights.tensor(name, size)
            return weight.expand(heads, 1, size) if heads else weight

        self._input_norm = RMSNorm(norm(f"{name}.input_layernorm.weight", hidden), shape.norm_eps)
        joined = torch.cat(
            [
                weights.tensor(f"{name}.self_attn.q_proj.weight", queries, hidden),
                weights.tensor(f"{name}.self_attn.k_proj.weight", keys, hidden),
                weights.tensor(f"{name}.self_attn.v_proj.weight", keys, hidden),
            ]
        )
        self._qkv = joined.t()
        of_heads = [
            norm(f"{name}.self_attn.q_norm.weight", size, shape.heads),
            norm(f"{name}.self_attn.k_norm.weight", size, shape.kv_heads),
        ]
        self._head_norm = RMSNorm(torch.cat(of_heads), shape.norm_eps)
        self._out = weights.tensor(f"{name}.self_attn.o_proj.weight", hidden, queries).t()
        self._mlp_norm = RMSNorm(norm(f"{name}.post_attention_layernorm.weight", hidden), shape.norm_eps)
        joined = torch.cat(
            [
                weights.tensor(f"{name}.mlp.gate_proj.weight", inner, hidden),
                weights.tensor(f"{name}.mlp.up_proj.weight", inner, hidden),
            ]
        )
        self._gate_up = joined.t()
        self._down = weights.tensor(f"{name}.mlp.down_proj.weight", hidden, inner).t()

    def project(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Project x (n, hidden) to queries (1, heads, n, head size), and keys and values.

        Keys, then values: (1, 2 * kv heads, n, head size).

        cos, sin: rotary tables (n, head size).
        """
        joined = torch.mm(self._input_norm(x), self._qkv)
        heads = joined.view(1, len(x), -1, self._size).transpose(1, 2)
        rotated = heads[:, : self._rotated]
        rotate(self._head_norm(rotated), cos, sin, out=rotated)
        queries, keys_values = heads.split_with_sizes(self._heads, 1)
        return queries, keys_values

    def finish(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output in place of x (n, hidden); attended: (n, heads * head size)."""
        x.addmm_(attended, self._out)
        gate, up = torch.mm(self._mlp_norm(x), self._gate_up).split_with_sizes(self._inner, 1)
        return x.addmm_(F.silu(gate).mul_(up), self._down)
