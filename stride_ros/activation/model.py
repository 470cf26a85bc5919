"""The activation model: a STRIDE checkpoint, loaded for inference on cached prompts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.fixed_pass import FixedPass
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.prompt import Prompt
from stride_ros.activation.recorded_vision import RecordedVision
from stride_ros.activation.recorder import CudaRecorder, Recorder
from stride_ros.errors import CheckpointError
from stride_ros.process.threads import choose_threads, use_threads
from stride_ros.qwen3_vl import checkpoint
from stride_ros.qwen3_vl.architecture import Architecture
from stride_ros.qwen3_vl.decoder import TextDecoder, TokenBlock
from stride_ros.qwen3_vl.device import choose_device, choose_dtype, uploaded
from stride_ros.qwen3_vl.kv_cache import KVCache, StretchCache
from stride_ros.qwen3_vl.page_attention import page_attention
from stride_ros.qwen3_vl.paged_cache import PageAttention, PagePool
from stride_ros.qwen3_vl.patches import CELL, patches
from stride_ros.qwen3_vl.vision import PairFeatures, VisionTower, Weights, patches_of
from stride_ros.qwen3_vl.weights import WeightFiles


class _CountedWeights:
    """Passes tensors through and adds up their bytes."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.total = 0

    def has(self, name: str) -> bool:
        return self._weights.has(name)

    def tensor(self, name: str, *shape: int) -> torch.Tensor:
        value = self._weights.tensor(name, *shape)
        self.total += value.numel() * value.element_size()
        return value


class ActivationModel:
    """A Qwen3-VL model trained for STRIDE. It holds weights only; a session holds the state of a stream.

    window: slots (W); resolution: seconds per slot; past: slots that end at or before the newest frame;
    memory_bytes: bytes of the weights; threads: CPU threads, None for PyTorch's own setting; recorder:
    records slot passes, None where they are not recorded; paged: whether keys and values are kept in `pages`,
    as on a GPU, or each prompt has its own contiguous memory; uploads_pixels: whether frames are cut into
    patches and scaled to -1 to 1 on the device instead of on the host.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Weights,
        prompt: Prompt,
        name: str,
        threads: int | None = None,
    ) -> None:
        self.architecture = architecture
        self.prompt = prompt
        self.name = name
        self.short_name = name.rstrip("/").rpartition("/")[2]  # in messages, without the path
        self.window = architecture.past + architecture.future
        self.past = architecture.past
        self.resolution = architecture.resolution
        self.single_sequence = architecture.single_sequence
        self.frame_max_tokens = architecture.frame_max_tokens
        counted = _CountedWeights(weights)
        with torch.inference_mode():
            self._vision = VisionTower(architecture.vision, counted)
            self._decoder = TextDecoder(architecture.text, counted)
            self._head = self._decoder.head_rows(weights, prompt.slot_ids[:2])
        self.device, self.dtype = self._decoder.device, self._decoder.dtype
        self.memory_bytes = counted.total
        count = counted.total // self.dtype.itemsize
        self.threads = None if threads is None else choose_threads(threads, count, str(self.device))
        self.recorder: Recorder | None = CudaRecorder(self.device) if self.device.type == "cuda" else None
        self.paged = self.uploads_pixels = self.device.type != "cpu"
        self.pages = PagePool(architecture.text, self.device, self.dtype)
        self._recorded: dict[Recorder, RecordedPasses] = {}
        self._recorded_vision: dict[Recorder, RecordedVision] = {}

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
    ) -> ActivationModel:
        """Load a checkpoint.

        source: a directory, `stride-tiny` (the embedded one) or a Hugging Face repo id. device: auto, cpu,
        cuda or cuda:N. dtype: auto, float32, bfloat16 or float16. threads: CPU threads, 0 for as many as suit
        a model of this size, None to keep PyTorch's setting. Only safetensors are read, and no code of the
        checkpoint runs. Raises CheckpointError (missing, gated, damaged, quantised, not finite, other
        architecture, no slot tokens) and ConfigError.
        """
        if threads is not None:
            use_threads(threads or 1)  # to read the weights with; their size is not known yet
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        folder = checkpoint.find(source)
        architecture = checkpoint.read_architecture(folder)
        tokenizer = checkpoint.read_tokenizer(folder)
        checkpoint.check_rows(tokenizer, architecture.text.vocab, folder)
        prompt = Prompt(tokenizer)
        weights = WeightFiles(folder, chosen_device, chosen_dtype)
        if not architecture.tied and not weights.has("lm_head.weight"):
            raise CheckpointError(
                f"The weights in {folder} lack lm_head.weight, but config.json says tie_word_embeddings: "
                "false; copy or download the checkpoint again."
            )
        model = cls(architecture, weights, prompt, os.fspath(source), threads)
        weights.check_rest()
        return model

    def new_cache(self, paged: bool | None = None) -> KVCache:
        """An empty cache for one prompt; paged: None for what suits the model's device."""
        if self.paged if paged is None else paged:
            return self.pages.new_cache()
        return StretchCache(self.architecture.text, self.dtype)

    def feature_bytes(self, pair_tokens: int) -> int:
        """Bytes of an encoded frame pair with that many video tokens."""
        vision = self.architecture.vision
        return pair_tokens * vision.output * (1 + len(vision.deepstack)) * self.dtype.itemsize

    @torch.inference_mode()
    def encode(self, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> list[PairFeatures]:
        """Encode frame pairs of one size, (H, W, 3) uint8 each, H and W multiples of 32."""
        use_threads(self.threads)
        height, width = pairs[0][0].shape[:2]
        if self.uploads_pixels:
            cut = patches_of(uploaded(torch.from_numpy(np.stack(pairs)), self.device))
        else:
            cut = torch.from_numpy(np.stack([patches(first, second) for first, second in pairs]))
        return self._vision.encode(cut.to(self.dtype), height // CELL, width // CELL)

    @torch.inference_mode()
    def append(self, blocks: Sequence[TokenBlock]) -> None:
        """Run token blocks, so that their keys and values are in their caches."""
        use_threads(self.threads)
        self._decoder.forward(blocks)

    @torch.inference_mode()
    def slot_probabilities(self, blocks: Sequence[TokenBlock]) -> list[NDArray[np.float32]]:
        """Run blocks of slots; return P(active) (wanted,) of each, from the head rows of the two labels."""
        use_threads(self.threads)
        hidden = self._decoder.forward(blocks)
        logits = torch.mm(hidden[0] if len(hidden) == 1 else torch.cat(hidden), self._head.t()).float()
        active: NDArray[np.float32] = torch.softmax(logits, dim=-1).cpu().numpy()[:, 1]
        ends = itertools.accumulate(block.wanted for block in blocks)
        return [active[end - block.wanted : end] for block, end in zip(blocks, ends, strict=True)]

    def recorded_vision(self, recorder: Recorder) -> RecordedVision:
        """Vision of fixed shapes, recorded and replayed: one object for all users of this recorder."""
        if recorder not in self._recorded_vision:
            vision = RecordedVision(recorder, self._vision, self.dtype, self.encode)
            self._recorded_vision[recorder] = vision
        return self._recorded_vision[recorder]

    def recorded_passes(self, recorder: Recorder) -> RecordedPasses:
        """Slot passes of fixed shapes, recorded and replayed: one object for all users of this recorder."""
        if recorder not in self._recorded:
            attention = page_attention(self.pages)

            def fixed(watches: int, pages: int) -> FixedPass:
                copies = 1 if self.single_sequence else 2
                slot_ids, window = self.prompt.slot_ids, self.window
                return FixedPass(
                    self._decoder, self._head, slot_ids, window, copies, attention, watches, pages
                )

            def relied(attention: PageAttention | None) -> None:
                self.pages.attention = None if attention is None or attention.copies else attention

            self._recorded[recorder] = RecordedPasses(
                recorder, fixed, attention, self.slot_probabilities, relied
            )
        return self._recorded[recorder]
