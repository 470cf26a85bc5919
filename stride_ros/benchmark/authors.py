"""Run the authors' published evaluation code unchanged from a checkout, to compare the engine with it.

Dependencies that a CPU machine may lack are replaced: decord, which only reads video files; the video
processor of transformers, which needs torchvision (the replacement is this package's own, and does less);
FlashAttention, by PyTorch's scaled_dot_product_attention.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import sys
from importlib.machinery import ModuleSpec
from math import isqrt
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prompt import pair_time
from stride_ros.activation.random_model import RandomWeights
from stride_ros.benchmark.measure import QUERIES
from stride_ros.benchmark.presets import architecture
from stride_ros.errors import SourceError
from stride_ros.qwen3_vl.architecture import Architecture
from stride_ros.qwen3_vl.patches import CELL, MERGE, patches
from stride_ros.training.checkpoint import CheckpointSize, model_config, save_weights
from stride_ros.training.tokenizer import build_tokenizer, save_tokenizer

_MODULE = "eval.model.qwen3_stride"


class Inputs(dict[str, Any]):
    """What a processor returns."""

    def to(self, device: Any) -> Inputs:
        """Return self, since the measurements are on a CPU."""
        return self


class Processor:
    """Replaces the processor of transformers with the prompt and the patches of this package."""

    def __init__(self, model: ActivationModel, tokenizer: Any) -> None:
        self._model, self.tokenizer = model, tokenizer

    def apply_chat_template(self, conversations: Any, *, videos_kwargs: Any, **_: Any) -> Inputs:
        """Inputs of one conversation of a text and a video."""
        text, video = (part[part["type"]] for part in conversations[0][0]["content"])
        metadata = videos_kwargs["video_metadata"][0]
        times = [index / metadata["fps"] for index in metadata["frames_indices"]]
        rows, columns = (side // CELL for side in video.shape[1:3])
        prompt, ids = self._model.prompt, []
        for index in range(0, len(video), 2):
            time = pair_time(times[index], times[index + 1], 0.0)
            ids.append(prompt.pair(time, rows * columns, None if index else text))
        input_ids = torch.from_numpy(np.concatenate([*ids, prompt.ending(text)]))[None]
        pixels = [patches(video[index], video[index + 1]) for index in range(0, len(video), 2)]
        return Inputs(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            mm_token_type_ids=torch.where(input_ids == prompt.video_id, 2, 0),
            pixel_values_videos=torch.from_numpy(np.concatenate(pixels)),
            video_grid_thw=torch.tensor([[len(video) // 2, rows * MERGE, columns * MERGE]]),
        )


def check(checkout: Path) -> None:
    """Raise SourceError for a folder that is not a checkout of the authors' code."""
    if not (checkout / "eval" / "model" / "qwen3_stride.py").is_file():
        raise SourceError(
            f"{checkout} is not a checkout of the authors' code; clone https://github.com/interlive-team/STRIDE."
        )


def load(checkout: Path, folder: Path, preset: str, window: int) -> tuple[Any, ActivationModel]:
    """Load the authors' model from a checkout and ours, with the same random weights, written to `folder`."""
    published = _imported(checkout)
    shape = architecture(preset, window)
    tokenizer = build_tokenizer(QUERIES)
    config = _configuration(shape, tokenizer)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_tokenizer(tokenizer, folder)
    from transformers import Qwen3VLConfig

    settings = Qwen3VLConfig.from_pretrained(folder)
    settings._attn_implementation = "sdpa"
    theirs = published.STRIDEQwen3VL(settings).eval()
    weights = RandomWeights(0, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            value.copy_(weights.tensor(name, *value.shape))
    save_weights(theirs, folder)
    ours = ActivationModel.load(folder, device="cpu", dtype="float32")
    ids = ours.prompt.slot_ids.tolist()
    theirs._inactive_token_id, theirs._active_token_id, theirs._activation_token_id = ids
    theirs._processor = Processor(ours, tokenizer)
    return theirs, ours


class LiveAuthors:
    """The authors' functions on a live stream, which has no later frames.

    There is a decision for each frame pair, on the context by their rule, prefilled for it.
    """

    def __init__(self, model: Any, frames: NDArray[np.uint8], query: str) -> None:
        """frames: (n, H, W, 3) uint8 RGB, one a second."""
        self._model, self._start = model, 0
        self._frames, self._times = model.preprocess_frames(frames), np.arange(len(frames), dtype=np.float64)
        model.start_stream(query, True)

    def decide(self, end: int) -> None:
        """Decide on the first `end` frames."""
        model, arguments = self._model, self._model.trigger_args
        while end - self._start > arguments.max_window_size:
            self._start += arguments.stride
        times = self._times[self._start : end]
        cache, lengths = model._build_prefix_cache(self._frames[self._start : end], times - times[0])
        for attempt in range(arguments.max_triggers + 1):
            if attempt:
                model._slot_history.clear()
            labels, starts, ends, unseen = model._diffuse_shifted(
                copy.deepcopy(cache), int(lengths[-1]), float(times[-1] - times[0]), float(times[0])
            )
            first = float(starts[~unseen][0]) if (~unseen).any() else 0.0
            spans = model._extract_spans(labels, starts, ends)
            if not model._update_segments(spans, first, float(times[-1])):
                break


def _configuration(shape: Architecture, tokenizer: Any) -> dict[str, Any]:
    """The content of config.json."""
    text, vision = shape.text, shape.vision
    size = CheckpointSize(
        text.hidden,
        text.layers,
        text.heads,
        text.kv_heads,
        text.head_dim,
        text.intermediate,
        text.rope_theta,
        vision.hidden,
        vision.layers,
        vision.heads,
        vision.intermediate,
        vision.deepstack,
        isqrt(vision.positions),
        shape.frame_max_tokens,
    )
    window = {
        "trigger_window_past": shape.past,
        "trigger_window_future": shape.future,
        "trigger_temporal_resolution": shape.resolution,
        "single_sequence": shape.single_sequence,
        "frame_max_tokens": shape.frame_max_tokens,
    }
    config = model_config(size, tokenizer, text.vocab) | window
    # As in the presets and in `random_model`, the output head is not tied to the embedding.
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    return config


def _imported(checkout: Path) -> ModuleType:
    """The module of the authors' model."""
    from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling

    if importlib.util.find_spec("decord") is None:
        decord: Any = ModuleType("decord")
        decord.VideoReader = decord.cpu = None
        decord.__spec__ = ModuleSpec("decord", None)
        sys.modules["decord"] = decord
    name = "Qwen3VLCausalLMOutputWithPast"  # of a forward that evaluation does not call; renamed since
    if not hasattr(modeling, name):
        setattr(modeling, name, SimpleNamespace)
    sys.path.insert(0, str(checkout))
    published = importlib.import_module(_MODULE)
    published.DynamicCache = _cache_type()  # type: ignore[attr-defined]
    return published


def _cache_type() -> Any:
    """A cache of transformers that can be cropped, as it could when the authors' code was published."""
    from transformers import cache_utils

    base: Any = cache_utils.DynamicCache

    class Cache(base):  # type: ignore[misc]
        def crop(self, max_length: int) -> None:
            """Keep the first `max_length` entries."""
            for layer in self.layers:
                layer.keys, layer.values = layer.keys[..., :max_length, :], layer.values[..., :max_length, :]

    return Cache
