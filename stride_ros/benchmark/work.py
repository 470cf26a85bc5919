"""The arithmetic of a tick by count: from the sizes of a model alone, without running it."""

from __future__ import annotations

from stride_ros.qwen3_vl.architecture import Architecture

PAIR_TEXT = 12  # tokens of a pair that are not video: its time, and the two that enclose the vision tokens


class Work:
    """FLOP of the parts of a tick with a full context.

    vision: of a frame pair; append: of what is appended a frame, to both prompts of a query; one_pass: over
    all slots of a query. weights, tower: numbers in the layers of the language model and of the vision tower.
    prefix: tokens of a full prompt.
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
