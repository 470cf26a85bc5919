"""Read the list of models that a server knows, in any of the usual formats."""

from __future__ import annotations

import json

from stride_ros.response.answer_reader import NotAChatError
from stride_ros.response.chat_stream import error_of


def model_names(body: bytes) -> list[str]:
    """The names in a list of models in the format of any usual server; raises the error that it reports."""
    text = body.decode("utf-8-sig", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise NotAChatError(text[:4000]) from None
    error = error_of(value)
    if error is not None:
        raise error
    if isinstance(value, dict):
        value = value.get("data") or value.get("models") or []
    found = []
    for model in value if isinstance(value, list) else []:
        names = [model.get(key) for key in ("id", "name", "model")] if isinstance(model, dict) else [model]
        found += [name for name in names if isinstance(name, str) and name][:1]
    return found


def is_name(model: str, listed: str) -> bool:
    """Whether a server that lists `listed` knows `model`: Ollama adds a tag, Gemini a prefix."""
    return listed in (model, f"{model}:latest", f"models/{model}")
