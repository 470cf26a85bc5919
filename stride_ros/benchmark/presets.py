"""Shapes of models to measure: a small one for a CPU, and the published sizes with random weights."""

from __future__ import annotations

from stride_ros.qwen3_vl.architecture import Architecture, TextShape, VisionShape

# Qwen3-VL's shares of the rotary frequencies: 24 : 20 : 20 for time, height and width.
PRESETS: dict[str, tuple[TextShape, VisionShape]] = {
    # About 16 M parameters. Work for a pair divides between vision and language about as in the 2B model.
    "small": (
        TextShape(16384, 512, 1024, 3, 2, 1, 64, 1e-6, 5e6, (12, 10, 10)),
        VisionShape(128, 512, 4, 2, 2304, 512, (1, 2)),
    ),
    # The language model of `small` behind a tower six times as costly, so that vision dominates.
    "vision": (
        TextShape(16384, 512, 1024, 3, 2, 1, 64, 1e-6, 5e6, (12, 10, 10)),
        VisionShape(320, 1280, 6, 5, 2304, 512, (1, 3)),
    ),
    "2b": (
        TextShape(151936, 2048, 6144, 28, 16, 8, 128, 1e-6, 5e6, (24, 20, 20)),
        VisionShape(1024, 4096, 24, 16, 2304, 2048, (5, 11, 17)),
    ),
    "4b": (
        TextShape(151936, 2560, 9728, 36, 32, 8, 128, 1e-6, 5e6, (24, 20, 20)),
        VisionShape(1024, 4096, 24, 16, 2304, 2560, (5, 11, 17)),
    ),
}


def architecture(preset: str, window: int) -> Architecture:
    """A preset with an activation window of `window` slots of one second, written twice."""
    text, vision = PRESETS[preset]
    return Architecture(
        text=text,
        vision=vision,
        past=window,
        future=0,
        resolution=1.0,
        single_sequence=False,
        frame_max_tokens=256,
    )
