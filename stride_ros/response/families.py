"""From a request to model inputs, in the way in which each model family was trained on video."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from stride_ros.errors import BackendError, CheckpointError
from stride_ros.qwen3_vl.chat_template import check_template
from stride_ros.qwen3_vl.tokenizer import panics_told
from stride_ros.response.backend import ResponseRequest, brief
from stride_ros.response.chat_template import control_tokens, load_tokenizer, with_system_prompt
from stride_ros.response.prompt import frame_times, question


class PromptBuilder(Protocol):
    """Turns a request into the tensors that `generate` takes, batch size 1."""

    tokenizer: Any

    def inputs(self, request: ResponseRequest) -> dict[str, Any]:
        """Return tensors by name; raises QueryError or FrameError for what cannot be shown."""


def prompt_builder(directory: Path, config: Any, frame_max_tokens: int) -> PromptBuilder:
    """The builder for the checkpoint in `directory` whose configuration is `config`."""
    try:
        with panics_told():
            if config.model_type in ("qwen3_vl", "qwen3_vl_moe"):
                from stride_ros.response.qwen3_vl import Qwen3VLPrompt

                return Qwen3VLPrompt(directory, config, frame_max_tokens)
            return FramesAsImages(directory, config)
    except CheckpointError as error:
        raise BackendError(str(error)) from error
    except Exception as error:  # the libraries raise many types, tokenizers plain Exception
        raise BackendError(
            f"The tokenizer or processor of {directory.name} cannot be loaded ({brief(error)}); download the "
            "checkpoint again or choose another model."
        ) from error


class FramesAsImages:
    """Each frame is an image preceded by its time: InternVL3, Gemma 3 and other image-text models.

    The checkpoint's own processor and chat template make the prompt. Each frame is one tile (no crops), as
    these families are trained on video: 256 tokens per frame for InternVL3 and Gemma 3.
    """

    def __init__(self, directory: Path, config: Any) -> None:
        self._processor = _image_processor_of(directory, config)
        self.tokenizer = self._processor.tokenizer
        check_template(self._processor.chat_template or "", directory)
        self._options = {"crop_to_patches": False} if config.model_type == "internvl" else {}
        self._forbidden = control_tokens(self.tokenizer)

    def messages(self, request: ResponseRequest) -> list[dict[str, Any]]:
        """The conversation in the form of Hugging Face chat templates, images as (H, W, 3) uint8 arrays."""
        content: list[dict[str, Any]] = []
        for number, (frame, time) in enumerate(zip(request.frames, frame_times(request), strict=True), 1):
            content.append({"type": "text", "text": f"Frame {number} at {time:.1f} s: "})
            content.append({"type": "image", "image": frame.image})
        content.append({"type": "text", "text": question(request, self._forbidden)})
        return with_system_prompt(request, content)

    def inputs(self, request: ResponseRequest) -> dict[str, Any]:
        """See PromptBuilder."""
        inputs = self._processor.apply_chat_template(
            self.messages(request),
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=dict(self._options),
        )
        return dict(inputs)


def _image_processor_of(directory: Path, config: Any) -> Any:
    """The family's image processor only: the video processor of some families needs torchvision."""
    from transformers import AutoImageProcessor, AutoProcessor

    if config.model_type != "internvl":
        return AutoProcessor.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    from transformers import InternVLProcessor

    class InternVLImages(InternVLProcessor):  # type: ignore[misc]
        """InternVLProcessor without its video processor."""

        def __init__(self, image_processor: Any, tokenizer: Any, **options: Any) -> None:
            super().__init__(image_processor, tokenizer, **options)

    tile = config.vision_config.image_size[0] // config.vision_config.patch_size[0]
    tokenizer = load_tokenizer(directory)
    return InternVLImages(
        AutoImageProcessor.from_pretrained(directory, local_files_only=True, backend="pil"),
        tokenizer,
        image_seq_length=int(tile**2 * config.downsample_ratio**2),
        chat_template=tokenizer.chat_template,
    )
