"""Model shapes to measure: a small one for a CPU, and the published sizes with random weights."""

from __future__ import annotations

from stride_ros.qwen3_vl.architecture import Architecture, TextShape, VisionShape
from stride_ros.qwen3_vl.published import PUBLISHED, window_architecture

# Qwen3-VL's shares of the rotary frequencies: 24 : 20 : 20 for time, height and width.
PRESETS: dict[str, tuple[TextShape, VisionShape]] = {
    # About 16 M parameters. Work for a pair is split between vision and language about as in the 2B model.
    "small": (
        TextShape(16384, 512, 1024, 3, 2, 1, 64, 1e-6, 5e6, (12, 10, 10)),
        VisionShape(128, 512, 4, 2, 2304, 512, (1, 2)),
    ),
    # The language model of `small` with a tower that costs six times as much, so that vision dominates.
    "vision": (
        TextShape(16384, 512, 1024, 3, 2, 1, 64, 1e-6, 5e6, (12, 10, 10)),
        VisionShape(320, 1280, 6, 5, 2304, 512, (1, 3)),
    ),
    "2b": PUBLISHED["2b"],
    "4b": PUBLISHED["4b"],
}


def architecture(preset: str, window: int) -> Architecture:
    """A preset with an activation window of `window` slots of one second, written twice."""
    return window_architecture(*PRESETS[preset], window)
