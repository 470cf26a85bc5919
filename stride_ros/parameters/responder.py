"""Parameters of the responder node. Needs no ROS and no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stride_ros.parameters.table import LIVE, START, THREADS, ParameterSpec, Table
from stride_ros.response.backend import ATTENTIONS, BACKENDS, DTYPES, QUANTIZATIONS
from stride_ros.response.desk import MOMENTS
from stride_ros.response.prompt import DEFAULT_SYSTEM_PROMPT
from stride_ros.response.scheduler import POLICIES

MAX_HISTORY = 20
DEFAULT_MODEL = "Qwen/Qwen3-VL-8B-Instruct"

TABLE: Table = (
    ParameterSpec(
        "backend",
        "huggingface",
        "What answers: huggingface is a model on this machine, openai a server with the OpenAI protocol.",
        choices=tuple(BACKENDS),
    ),
    ParameterSpec(
        "model",
        DEFAULT_MODEL,
        "Image-text model: a directory, a Hugging Face repository, or its name on the server.",
    ),
    ParameterSpec(
        "device", "auto", "Where the model runs: auto, cpu, cuda, cuda:N, or balanced over all GPUs."
    ),
    ParameterSpec(
        "dtype",
        "auto",
        "Number type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.",
        choices=DTYPES,
    ),
    THREADS,
    ParameterSpec("attention", "auto", "Attention implementation of transformers.", choices=ATTENTIONS),
    ParameterSpec(
        "quantization", "none", "Weights in 8 or 4 bits; needs bitsandbytes and a GPU.", choices=QUANTIZATIONS
    ),
    # Fixed, since together they say which secret of the environment goes to which server.
    ParameterSpec("base_url", "http://localhost:8000/v1", "With openai: address of the server.", START),
    ParameterSpec(
        "api_key_env",
        "OPENAI_API_KEY",
        "With openai: environment variable that holds the key; the key itself is no parameter.",
        START,
    ),
    ParameterSpec("image_size", 768, "With openai: longer side of a frame at most (px).", limits=(32, 4096)),
    ParameterSpec("jpeg_quality", 85, "With openai: quality of the frames.", limits=(1, 100)),
    ParameterSpec(
        "connect_timeout", 5.0, "With openai: seconds until the connection must stand.", limits=(0.1, 600.0)
    ),
    ParameterSpec(
        "read_timeout",
        30.0,
        "With openai: seconds to wait for the first text of an answer, and for each further piece of it.",
        limits=(0.1, 3600.0),
    ),
    ParameterSpec(
        "answer_timeout",
        0.0,
        "With openai: seconds that each try to get an answer may take in all; 0: twice read_timeout.",
        limits=(0.0, 7200.0),
    ),
    ParameterSpec(
        "max_retries",
        2,
        "With openai: further tries when the server is down, busy or failing.",
        limits=(0, 20),
    ),
    ParameterSpec(
        "warm_up", True, "At configure answer a black frame, or ask the server: the first answer is fast."
    ),
    ParameterSpec("max_new_tokens", 128, "Length of an answer at most, in tokens.", limits=(1, 4096)),
    ParameterSpec(
        "temperature",
        -1.0,
        "Randomness of the wording; 0 always takes the likeliest word, -1 leaves it to the model's settings.",
        limits=(-1.0, 2.0),
    ),
    ParameterSpec(
        "frame_max_tokens",
        256,
        "Tokens for each frame at most, for models that let it vary (Qwen3-VL).",
        limits=(1, 4096),
    ),
    ParameterSpec(
        "system_prompt", DEFAULT_SYSTEM_PROMPT, "Style, language and length of the commentary.", LIVE
    ),
    ParameterSpec(
        "history",
        2,
        "Last commentaries that the model is reminded of, not to repeat them.",
        LIVE,
        (0, MAX_HISTORY),
    ),
    ParameterSpec(
        "pre_seconds", 2.0, "Seconds before the event that the model is shown too.", LIVE, (0.0, 60.0)
    ),
    ParameterSpec(
        "max_frames", 16, "Frames shown at most, evenly spread with the newest kept.", LIVE, (1, 512)
    ),
    ParameterSpec("cache_seconds", 120.0, "Seconds of frames to remember.", limits=(1.0, 3600.0)),
    ParameterSpec("cache_frames", 128, "Frames to remember at most.", limits=(1, 4096)),
    ParameterSpec(
        "cache_size",
        1024,
        "Longer side of a remembered frame at most (px); larger frames are scaled down to save memory.",
        limits=(32, 8192),
    ),
    ParameterSpec(
        "respond_on",
        "onset",
        "When to speak: as an event begins, when it is over, or both (the final text then comes at the end).",
        choices=MOMENTS,
    ),
    ParameterSpec(
        "busy_policy",
        "queue",
        "A new event during an answer: queue waits, latest replaces what waits, interrupt also the answer.",
        choices=POLICIES,
    ),
    ParameterSpec(
        "max_queue",
        8,
        "Events that wait at most with busy_policy queue; the oldest is skipped.",
        limits=(1, 9),
    ),
    ParameterSpec(
        "deadline",
        0.0,
        "Seconds after which an unfinished answer is skipped; 0: never.",
        limits=(0.0, 3600.0),
    ),
    ParameterSpec(
        "remember",
        True,
        "Keep in $ROS_HOME/stride_ros which events were answered, so that a restarted node repeats none.",
    ),
    ParameterSpec(
        "partial_rate", 5.0, "Partial texts a second at most while the model speaks.", limits=(0.1, 5.0)
    ),
)

_BACKEND_OPTIONS = {
    "huggingface": (
        "max_new_tokens",
        "temperature",
        "frame_max_tokens",
        "attention",
        "quantization",
        "threads",
    ),
    "openai": (
        "max_new_tokens",
        "temperature",
        "base_url",
        "api_key_env",
        "image_size",
        "jpeg_quality",
        "connect_timeout",
        "read_timeout",
        "answer_timeout",
        "max_retries",
    ),
}


def backend_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of the chosen backend, for `load_backend`."""
    return {name: values[name] for name in _BACKEND_OPTIONS[values["backend"]]}
