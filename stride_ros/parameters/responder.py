"""Parameters of the responder node. Needs no ROS and no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from stride_ros.parameters.cameras import CAMERAS
from stride_ros.parameters.table import LIVE, START, THREADS, ParameterSpec, Table
from stride_ros.response.backend import ATTENTIONS, BACKENDS, DTYPES, QUANTIZATIONS
from stride_ros.response.config import MAX_HISTORY, MOMENTS, POLICIES, BackendConfig, ResponseConfig

_DEFAULT = ResponseConfig()
_BACKEND = BackendConfig()

_CAMERAS = replace(
    CAMERAS,
    description="Names of several cameras, as in the activation node: an event on front is answered from "
    "front/frames. Empty: one unnamed camera, on frames.",
)
TABLE: Table = (
    ParameterSpec(
        "backend",
        _BACKEND.kind,
        "Backend for answers: huggingface is a model on this machine, openai a server with the OpenAI "
        "protocol.",
        choices=tuple(BACKENDS),
    ),
    ParameterSpec(
        "model",
        _BACKEND.model,
        "Image-text model: a directory, a Hugging Face repository, or its name on the server.",
    ),
    ParameterSpec(
        "device", _BACKEND.device, "Device of the model: auto, cpu, cuda, cuda:N, or balanced over all GPUs."
    ),
    ParameterSpec(
        "dtype",
        _BACKEND.dtype,
        "Data type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.",
        choices=DTYPES,
    ),
    THREADS,
    ParameterSpec(
        "attention", _BACKEND.attention, "Attention implementation of transformers.", choices=ATTENTIONS
    ),
    ParameterSpec(
        "quantization",
        _BACKEND.quantization,
        "Quantise the weights to 8 or 4 bits; needs bitsandbytes and a GPU.",
        choices=QUANTIZATIONS,
    ),
    _CAMERAS,
    # Fixed, since together they say which secret of the environment goes to which server.
    ParameterSpec("base_url", _BACKEND.base_url, "With openai: base URL of the server.", START),
    ParameterSpec(
        "api_key_env",
        _BACKEND.api_key_env,
        "With openai: environment variable that holds the key; the key itself is not a parameter.",
        START,
    ),
    ParameterSpec(
        "image_size",
        _BACKEND.image_size,
        "With openai: maximum length of a frame's longer side (px).",
        limits=(32, 4096),
    ),
    ParameterSpec(
        "jpeg_quality", _BACKEND.jpeg_quality, "With openai: JPEG quality of the frames.", limits=(1, 100)
    ),
    ParameterSpec(
        "connect_timeout",
        _BACKEND.connect_timeout,
        "With openai: seconds to wait for the connection.",
        limits=(0.1, 600.0),
    ),
    ParameterSpec(
        "read_timeout",
        _BACKEND.read_timeout,
        "With openai: seconds to wait for the first text of an answer, and for each further piece.",
        limits=(0.1, 3600.0),
    ),
    ParameterSpec(
        "answer_timeout",
        _BACKEND.answer_timeout,
        "With openai: total seconds allowed for each attempt at an answer; 0: twice read_timeout.",
        limits=(0.0, 7200.0),
    ),
    ParameterSpec(
        "max_retries",
        _BACKEND.max_retries,
        "With openai: number of retries when the server is down, busy or failing.",
        limits=(0, 20),
    ),
    ParameterSpec(
        "warm_up",
        True,
        "At configure, answer about one black frame or query the server, so that the first answer is fast.",
    ),
    ParameterSpec(
        "max_new_tokens", _BACKEND.max_new_tokens, "Maximum length of an answer (tokens).", limits=(1, 4096)
    ),
    ParameterSpec(
        "temperature",
        _BACKEND.temperature,
        "Sampling temperature; 0 always takes the most likely token, -1 uses the model's own settings.",
        limits=(-1.0, 2.0),
    ),
    ParameterSpec(
        "frame_max_tokens",
        _BACKEND.frame_max_tokens,
        "Maximum number of tokens per frame, for models in which it can vary (Qwen3-VL).",
        limits=(1, 4096),
    ),
    ParameterSpec(
        "system_prompt", _DEFAULT.system_prompt, "Style, language and length of the commentary.", LIVE
    ),
    ParameterSpec(
        "history",
        _DEFAULT.history,
        "Number of earlier commentaries shown to the model, so that it does not repeat them.",
        LIVE,
        (0, MAX_HISTORY),
    ),
    ParameterSpec(
        "pre_seconds",
        _DEFAULT.pre_seconds,
        "Seconds before the event that are also shown to the model.",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "max_frames",
        _DEFAULT.max_frames,
        "Maximum number of frames shown to the model, evenly spread and including the newest.",
        LIVE,
        (1, 512),
    ),
    ParameterSpec(
        "cache_seconds", _DEFAULT.cache_seconds, "Seconds for which frames are kept.", limits=(1.0, 3600.0)
    ),
    ParameterSpec(
        "cache_frames", _DEFAULT.cache_frames, "Maximum number of frames to keep.", limits=(1, 4096)
    ),
    ParameterSpec(
        "cache_size",
        _DEFAULT.cache_size,
        "Maximum length of a kept frame's longer side (px); larger frames are scaled down to save memory.",
        limits=(32, 8192),
    ),
    ParameterSpec(
        "respond_on",
        _DEFAULT.respond_on,
        "When to answer: when an event begins, when it is over, or both (the final text then comes at the "
        "end).",
        choices=MOMENTS,
    ),
    ParameterSpec(
        "busy_policy",
        _DEFAULT.busy_policy,
        "What a new event does during an answer: queue waits, latest replaces waiting events, interrupt also "
        "stops the answer.",
        choices=POLICIES,
    ),
    ParameterSpec(
        "max_queue",
        _DEFAULT.max_queue,
        "Maximum number of waiting events with busy_policy queue; beyond it the oldest is skipped.",
        limits=(1, 9),
    ),
    ParameterSpec(
        "deadline",
        _DEFAULT.deadline,
        "Seconds after which an unfinished answer is skipped; 0: never.",
        limits=(0.0, 3600.0),
    ),
    ParameterSpec(
        "describe.max_words",
        60,
        "Maximum length of an answer to a question (words) if the goal does not set one.",
        LIVE,
        (1, 1000),
    ),
    ParameterSpec(
        "describe.timeout",
        60.0,
        "Seconds that a question without a timeout waits for its answer.",
        LIVE,
        (0.1, 3600.0),
    ),
    ParameterSpec(
        "describe.max_queue",
        32,
        "Maximum number of waiting questions; further ones are refused.",
        LIVE,
        (1, 1000),
    ),
    ParameterSpec(
        "remember",
        True,
        "Record answered events in $ROS_HOME/stride_ros, so that a restarted node does not repeat any.",
    ),
    ParameterSpec(
        "partial_rate",
        _DEFAULT.partial_rate,
        "Maximum rate of partial texts during an answer (Hz).",
        limits=(0.1, 5.0),
    ),
)


def to_config(values: Mapping[str, Any]) -> ResponseConfig:
    """Return the settings these parameters stand for; raises ConfigError."""
    return ResponseConfig(**{field.name: values[field.name] for field in fields(ResponseConfig)})


def to_backend(values: Mapping[str, Any]) -> BackendConfig:
    """Return the backend these parameters stand for; raises ConfigError."""
    named = {field.name: values[field.name] for field in fields(BackendConfig) if field.name != "kind"}
    return BackendConfig(kind=values["backend"], **named)
