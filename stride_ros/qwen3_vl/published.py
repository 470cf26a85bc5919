"""Sizes of the published Qwen3-VL models; STRIDE's checkpoints have the smaller ones."""

from __future__ import annotations

from stride_ros.qwen3_vl.architecture import Architecture, TextShape, VisionShape

# Division of the rotary frequencies: 24 : 20 : 20 for time, height and width.
PUBLISHED: dict[str, tuple[TextShape, VisionShape]] = {
    "2b": (
        TextShape(151936, 2048, 6144, 28, 16, 8, 128, 1e-6, 5e6, (24, 20, 20)),
        VisionShape(1024, 4096, 24, 16, 2304, 2048, (5, 11, 17)),
    ),
    "4b": (
        TextShape(151936, 2560, 9728, 36, 32, 8, 128, 1e-6, 5e6, (24, 20, 20)),
        VisionShape(1024, 4096, 24, 16, 2304, 2560, (5, 11, 17)),
    ),
    "8b": (
        TextShape(151936, 4096, 12288, 36, 32, 8, 128, 1e-6, 5e6, (24, 20, 20)),
        VisionShape(1152, 4304, 27, 16, 2304, 4096, (8, 16, 24)),
    ),
}


def window_architecture(text: TextShape, vision: VisionShape, window: int) -> Architecture:
    """These sizes with an activation window of `window` slots of one second, written twice."""
    return Architecture(
        text=text,
        vision=vision,
        past=window,
        future=0,
        resolution=1.0,
        single_sequence=False,
        frame_max_tokens=256,
    )
