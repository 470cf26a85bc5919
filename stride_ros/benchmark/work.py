"""Count the arithmetic of a tick: from the sizes of a model, or from what PyTorch runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stride_ros.qwen3_vl.architecture import Architecture

PAIR_TEXT = 12  # tokens of a pair other than video: its time, and the two that enclose the vision tokens


class Work:
    """FLOP of the parts of a tick with a full context.

    vision: of a frame pair; append: of the tokens appended per frame, to both prompts of a query; one_pass:
    over all slots of a query. weights, tower: number of weights in the layers of the language model and of
    the vision tower. prefix: tokens of a full prompt.
    """

    def __init__(self, shape: Architecture, frames: int, drop: int, tokens: int) -> None:
        """frames: in context; drop: leave at a shift; tokens: video tokens of a frame pair."""
        text, vision = shape.text, shape.vision
        attention_in = (text.heads + 2 * text.kv_heads) * text.head_dim * text.hidden
        layer = attention_in + text.heads * text.head_dim * text.hidden + 3 * text.hidden * text.intermediate
        self.weights = text.layers * layer
        self.tower = vision.layers * (4 * vision.hidden**2 + 2 * vision.hidden * vision.intermediate)
        per_key = 4 * text.layers * text.heads * text.head_dim  # FLOP of one query on one key
        pair = tokens + PAIR_TEXT
        self.prefix = frames // 2 * pair
        patches = 4 * tokens
        self.vision = 2 * patches * self.tower + 4 * vision.layers * vision.hidden * patches**2
        # Pairs appended per frame: the active prompt's own, and those for the upcoming one.
        appended = 1 + (frames - drop) / (2 * drop)
        self.append = appended * pair * (2 * self.weights + per_key * 0.75 * self.prefix)
        slots = (shape.past + shape.future) * (1 if shape.single_sequence else 2)
        self.one_pass = slots * (2 * self.weights + per_key * self.prefix)

    def tick(self, queries: int, passes: int) -> float:
        """FLOP of a tick of one camera: vision runs once, the rest for each query."""
        return self.vision + queries * (self.append + passes * self.one_pass)


@contextmanager
def counted_flop() -> Iterator[Callable[[], float]]:
    """Count the FLOP of PyTorch's matrix products and attention; yields a function that returns them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def attention(q: Sequence[int], k: Sequence[int], v: Sequence[int], *rest: Any, **_: Any) -> int:
        """FLOP for shapes (batch, heads, n, size); rest: dropout, and whether a causal mask halves them."""
        batch, heads, n, size = q
        keys = k[2] / 2 if len(rest) > 1 and rest[1] else k[2]
        return int(2 * batch * heads * n * keys * (size + v[3]))

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={kernel: attention}) as counter:
        yield lambda: float(counter.get_total_flops())
