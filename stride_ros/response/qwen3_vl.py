"""Qwen3-VL prompts: the frames as one video in pairs, each pair preceded by its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from stride_ros.qwen3_vl.patches import CELL, MERGE, PAIR, patches, prepare
from stride_ros.response.backend import ResponseRequest
from stride_ros.response.chat_template import control_tokens, load_tokenizer, with_system_prompt
from stride_ros.response.prompt import frame_times, question

_PLACEHOLDER = "<|vision_start|><|video_pad|><|vision_end|>"


class Qwen3VLPrompt:
    """Native video input in the layout of Qwen3VLProcessor, whose video processor needs torchvision.

    Frames are merged in pairs (a last odd one with itself); the time of a pair is the mean of its two times,
    with one decimal. A pair takes up to `frame_max_tokens` tokens, or the checkpoint's own limit if that is
    lower.
    """

    def __init__(self, directory: Path, config: Any, frame_max_tokens: int) -> None:
        self.tokenizer = load_tokenizer(directory)
        self._video_token = config.video_token_id
        # A checkpoint that was trained on smaller frames states its limit.
        own = getattr(config, "frame_max_tokens", None) or frame_max_tokens
        self._max_tokens = min(frame_max_tokens, own)
        self._forbidden = control_tokens(self.tokenizer)

    def messages(self, request: ResponseRequest) -> list[dict[str, Any]]:
        """The conversation in the form of Hugging Face chat templates."""
        content = [
            {"type": "video", "video": "frames"},
            {"type": "text", "text": question(request, self._forbidden)},
        ]
        return with_system_prompt(request, content)

    def text(self, request: ResponseRequest, pair_tokens: int) -> str:
        """The prompt with all video tokens written out, `pair_tokens` for each pair of frames."""
        template = self.tokenizer.apply_chat_template(
            self.messages(request), tokenize=False, add_generation_prompt=True
        )
        times = frame_times(request)
        times += times[-1:] * (len(times) % 2)
        frame = f"<|vision_start|>{'<|video_pad|>' * pair_tokens}<|vision_end|>"
        video = "".join(
            f"<{(first + second) / 2:.1f} seconds>{frame}"
            for first, second in zip(times[::2], times[1::2], strict=True)
        )
        return str(template).replace(_PLACEHOLDER, video, 1)

    def inputs(self, request: ResponseRequest) -> dict[str, Any]:
        """See PromptBuilder; the positions follow from `mm_token_type_ids` (2 for video tokens)."""
        frames = [prepare(request.frames[0].image, self._max_tokens)]
        size = frames[0].shape[:2]
        frames += [prepare(frame.image, self._max_tokens, size) for frame in request.frames[1:]]
        frames += frames[-1:] * (len(frames) % PAIR)
        pairs = [patches(first, second) for first, second in zip(frames[::2], frames[1::2], strict=True)]
        rows, columns = size[0] // CELL, size[1] // CELL
        ids = self.tokenizer(
            self.text(request, rows * columns), return_tensors="pt", add_special_tokens=False
        )["input_ids"]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": 2 * (ids == self._video_token).long(),
            "pixel_values_videos": torch.from_numpy(np.concatenate(pairs)),
            "video_grid_thw": torch.tensor([[len(pairs), MERGE * rows, MERGE * columns]]),
        }
