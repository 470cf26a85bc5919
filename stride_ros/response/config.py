"""Settings of the response stage, checked on construction: a bad value fails early and by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import AUTO
from stride_ros.response.backend import BACKENDS, ResponseBackend, load_backend
from stride_ros.response.prompt import DEFAULT_SYSTEM_PROMPT

MOMENTS = ("onset", "offset", "both")
POLICIES = ("queue", "latest", "interrupt")
MAX_HISTORY = 20
DEFAULT_MODEL = "Qwen/Qwen3-VL-4B-Instruct"

# Settings that can change between two answers; the others determine what is remembered and the order of
# answers.
LIVE = ("pre_seconds", "max_frames", "history", "system_prompt")

_AT_LEAST: dict[str, float] = {"pre_seconds": 0.0, "deadline": 0.0}  # s
_ABOVE: dict[str, float] = {"cache_seconds": 0.0, "partial_rate": 0.0}
_WHOLE = {"max_frames": 1, "history": 0, "cache_size": 1, "cache_frames": 1, "max_queue": 1}
_CHOICES = {"respond_on": MOMENTS, "busy_policy": POLICIES}


@dataclass(frozen=True)
class ResponseConfig:
    """What the responder's model is shown, and which events are answered when.

    Raises ConfigError on a bad value.

    pre_seconds: time shown before the event's start (s). max_frames: maximum number of frames shown, evenly
    spread with the first and the newest kept. history: number of last commentaries that the model is reminded
    of, up to 20. system_prompt: style, language and length of the commentary; "" for none. cache_seconds,
    cache_frames: how much of the stream is kept (s, frames). cache_size: maximum length of a remembered
    frame's longer side (px); larger ones are scaled down. respond_on: `onset` answers as an event begins,
    `offset` when it is over, `both` twice. busy_policy: what a new event does to others: `queue` waits its
    turn, `latest` replaces waiting events, `interrupt` also stops the current answer. max_queue: maximum
    number of events that wait with `queue`; beyond it, the oldest is skipped. deadline: seconds after which
    an unfinished answer is skipped, even if the backend hangs; 0: never. partial_rate: maximum number of
    partial texts per second.
    """

    pre_seconds: float = 2.0
    max_frames: int = 16
    history: int = 2
    system_prompt: str = DEFAULT_SYSTEM_PROMPT
    cache_seconds: float = 120.0
    cache_frames: int = 128
    cache_size: int = 1024
    respond_on: str = "onset"
    busy_policy: str = "queue"
    max_queue: int = 8
    deadline: float = 0.0
    partial_rate: float = 5.0

    def __post_init__(self) -> None:
        for name, low in _AT_LEAST.items():
            value = getattr(self, name)
            _require(_is_number(value) and value >= low, name, value, f"use a number of at least {low:g}")
        for name, low in _ABOVE.items():
            value = getattr(self, name)
            _require(_is_number(value) and value > low, name, value, f"use a number above {low:g}")
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            _require(whole and value >= least, name, value, f"use a whole number of at least {least}")
        _require(self.history <= MAX_HISTORY, "history", self.history, f"use at most {MAX_HISTORY}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            _require(value in choices, name, value, f"use one of {', '.join(choices)}")
        _require(isinstance(self.system_prompt, str), "system_prompt", self.system_prompt, "use a string")

    def live_changes(self, other: ResponseConfig) -> dict[str, Any]:
        """The fields of `other` that differ; ConfigError if one cannot change in a running responder."""
        changed = {f.name: getattr(other, f.name) for f in fields(self)}
        changed = {name: value for name, value in changed.items() if value != getattr(self, name)}
        for name in changed:
            if name not in LIVE:
                raise ConfigError(f"{name} cannot change in a running responder; make a new one with it.")
        return changed


@dataclass(frozen=True)
class BackendConfig:
    """The backend and model that answer, and the options of each kind; see the backends' classes.

    kind: `huggingface`, a model on this machine, or `openai`, a server with the OpenAI protocol.
    model: a directory, a Hugging Face repository, or its name on the server.
    threads: CPU threads for a local model; 0 for as many as suit its size, None for PyTorch's setting.
    temperature: 0 always takes the most likely token, negative uses the model's settings.
    """

    kind: str = "huggingface"
    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = AUTO
    attention: str = "auto"
    quantization: str = "none"
    base_url: str = "http://localhost:8000/v1"
    api_key_env: str = "OPENAI_API_KEY"
    image_size: int = 768
    jpeg_quality: int = 85
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    answer_timeout: float = 0.0
    max_retries: int = 2
    max_new_tokens: int = 128
    temperature: float = -1.0
    frame_max_tokens: int = 256

    def __post_init__(self) -> None:
        if self.kind not in BACKENDS:
            raise ConfigError(
                f"There is no response backend {self.kind!r}; choose one of {', '.join(BACKENDS)}."
            )

    def load(self) -> ResponseBackend:
        """Load the backend. Raises ConfigError for an impossible option, BackendError for the model."""
        options = {name: getattr(self, name) for name in (*_COMMON, *_OPTIONS[self.kind])}
        return load_backend(self.kind, self.model, self.device, self.dtype, **options)


_COMMON = ("max_new_tokens", "temperature")
_OPTIONS = {
    "huggingface": ("frame_max_tokens", "attention", "quantization", "threads"),
    "openai": (
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(condition: bool, name: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{name} is {value!r}; {remedy}.")
