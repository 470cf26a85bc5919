"""From a name to a loaded model: find the checkpoint, and refuse what cannot work with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, AutoModelForImageTextToText
from transformers.utils import logging

from stride_ros.errors import BackendError, CheckpointError, ConfigError
from stride_ros.qwen3_vl.checkpoint import config_file, find
from stride_ros.qwen3_vl.device import choose_device, choose_dtype
from stride_ros.qwen3_vl.files import read_object
from stride_ros.qwen3_vl.pretrained import check_files, load_pretrained
from stride_ros.qwen3_vl.quantised import configured
from stride_ros.response.backend import ATTENTIONS, QUANTIZATIONS, brief


def resolve_checkpoint(source: str) -> Path:
    """Return the directory of a checkpoint given as a directory or a Hugging Face repository id.

    Downloads what is not yet in the Hugging Face cache. Raises BackendError if it does not exist or cannot be
    downloaded.
    """
    try:
        return find(source, example="Qwen/Qwen3-VL-8B-Instruct")
    except CheckpointError as error:
        raise BackendError(str(error)) from error


def load_image_text_model(
    directory: Path,
    device: str = "auto",
    dtype: str = "auto",
    *,
    attention: str = "auto",
    quantization: str = "none",
) -> Any:
    """Load the image-text model in `directory` for inference (arguments as in HuggingFaceBackend).

    Raises ConfigError for an impossible argument, BackendError if the checkpoint has another architecture,
    has weights that are missing, damaged or not finite, or does not fit into memory.
    """
    _check_architecture(directory)
    try:
        weights = check_files(directory, may_be_quantised=True)
    except CheckpointError as error:
        raise BackendError(str(error)) from error
    declared = configured(read_object(directory / "config.json"))
    target = choose_device("auto" if device == "balanced" else device)
    options: dict[str, Any] = {"dtype": choose_dtype(dtype, target)}
    if attention not in ATTENTIONS:
        raise ConfigError(
            f"There is no attention implementation {attention!r}; choose one of {', '.join(ATTENTIONS)}."
        )
    if attention != "auto":
        options["attn_implementation"] = attention
    if quantization != "none":
        options["quantization_config"] = _quantization(quantization)
    logging.disable_progress_bar()  # it does not belong in a node's log
    try:
        model = load_pretrained(
            AutoModelForImageTextToText,
            directory,
            weights,
            quantisation=bool(declared) or quantization != "none",
            device_map="auto" if device == "balanced" else {"": target},
            **options,
        )
    except CheckpointError as error:
        raise BackendError(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise BackendError(
            f"{directory.name} does not fit into the memory of {target}; choose a smaller model, "
            "quantise it, or use the openai backend with a server."
        ) from error
    except Exception as error:  # transformers raises many types for a broken checkpoint
        if declared:
            raise BackendError(
                f"{directory.name} is quantised ({declared}) and cannot be loaded here ({brief(error)}); "
                "install the package for its quantisation, or choose the model in bfloat16."
            ) from error
        raise BackendError(
            f"{directory.name} cannot be loaded ({brief(error)}); download the checkpoint again or "
            "choose another model."
        ) from error
    return model.eval()


def _check_architecture(directory: Path) -> None:
    try:
        read_object(config_file(directory))
    except CheckpointError as error:
        raise BackendError(str(error)) from error
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # unknown model types and broken JSON raise several types
        raise BackendError(
            f"The config.json of {directory.name} cannot be used ({brief(error)}); choose a model that this "
            "version of transformers supports."
        ) from error
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise BackendError(
            f"{directory.name} is a {config.model_type} model, which cannot answer about images; choose an "
            "image-text model such as Qwen3-VL, InternVL3 (-hf) or Gemma 3."
        )


def _quantization(name: str) -> Any:
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if name not in QUANTIZATIONS:
        raise ConfigError(f"There is no quantization {name!r}; choose one of {', '.join(QUANTIZATIONS)}.")
    if find_spec("bitsandbytes") is None:
        raise BackendError(f"The quantization {name} needs bitsandbytes; run `pip install bitsandbytes`.")
    if name == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
