"""The chat template of a checkpoint, and the tokens that texts in a prompt must not contain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stride_ros.errors import BackendError, CheckpointError
from stride_ros.qwen3_vl.tokenizer import transformers_tokenizer
from stride_ros.response.backend import ResponseRequest


def load_tokenizer(directory: Path) -> Any:
    """Load the checkpoint's tokenizer with its chat template; BackendError if there is none."""
    try:
        return transformers_tokenizer(directory)
    except CheckpointError as error:
        raise BackendError(str(error)) from error


def with_system_prompt(request: ResponseRequest, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One user turn, after the request's system prompt if there is one."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if request.system_prompt:
        system = [{"type": "text", "text": request.system_prompt}]
        messages.insert(0, {"role": "system", "content": system})
    return messages


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """All tokens that are not plain text, longest first."""
    special = {str(token) for token in tokenizer.all_special_tokens}
    special |= {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted(special, key=len, reverse=True))
