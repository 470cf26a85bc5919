"""One layer of the language model but for the attention itself, which depends on how keys are kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.vision import Weights, rotate


class Layer:
    """Weights of one layer of Qwen3-VL's language model; projections that read the same input are joined."""

    def __init__(self, shape: TextShape, weights: Weights, name: str) -> None:
        hidden, inner = shape.hidden, shape.intermediate
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self._splits = [queries, keys, keys]
        self._head_dim, self._norm_eps = shape.head_dim, shape.norm_eps
        self._input_norm = weights.tensor(f"{name}.input_layernorm.weight", hidden)
        self._qkv = torch.cat(
            [
                weights.tensor(f"{name}.self_attn.q_proj.weight", queries, hidden),
                weights.tensor(f"{name}.self_attn.k_proj.weight", keys, hidden),
                weights.tensor(f"{name}.self_attn.v_proj.weight", keys, hidden),
            ]
        )
        self._q_norm = weights.tensor(f"{name}.self_attn.q_norm.weight", shape.head_dim)
        self._k_norm = weights.tensor(f"{name}.self_attn.k_norm.weight", shape.head_dim)
        self._out = weights.tensor(f"{name}.self_attn.o_proj.weight", hidden, queries)
        self._mlp_norm = weights.tensor(f"{name}.post_attention_layernorm.weight", hidden)
        self._gate_up = torch.cat(
            [
                weights.tensor(f"{name}.mlp.gate_proj.weight", inner, hidden),
                weights.tensor(f"{name}.mlp.up_proj.weight", inner, hidden),
            ]
        )
        self._down = weights.tensor(f"{name}.mlp.down_proj.weight", hidden, inner)

    def project(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries (n, heads, head size), and keys and values (n, kv heads, head size), of x (n, hidden).

        cos, sin: rotary tables (n, 1, head size).
        """
        joined = torch.split(F.linear(self._rms(x, self._input_norm), self._qkv), self._splits, dim=-1)
        q, k, v = (part.view(len(x), -1, self._head_dim) for part in joined)
        return rotate(self._rms(q, self._q_norm), cos, sin), rotate(self._rms(k, self._k_norm), cos, sin), v

    def finish(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The layer's output (n, hidden) from its input x and the attention's (n, heads * head size)."""
        x = x + F.linear(attended, self._out)
        gate, up = F.linear(self._rms(x, self._mlp_norm), self._gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self._down)

    def _rms(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self._norm_eps)
