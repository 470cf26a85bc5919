"""What went wrong with a server, in one sentence that says what to do, and whether trying again may help."""

from __future__ import annotations

import json

from stride_ros.response.backend import brief


class CutOffError(Exception):
    """The stream ended before the answer did."""


def is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed a moment later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 425, 429) or error.status_code >= 500
    return isinstance(error, (openai.APIConnectionError, CutOffError))


def retry_after(error: Exception) -> float:
    """Seconds that the server asks to wait before the next try, 0 when it does not say."""
    response = getattr(error, "response", None)
    if response is None:
        return 0.0
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:  # a date: rare, and the back-off will do
        return 0.0


def reason(error: Exception, model: str, where: str, key_name: str) -> str:
    """One sentence about ``error`` for the server at ``where``, ending with the remedy."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return f"The server at {where} did not answer in time: check its load, or raise read_timeout."
    if isinstance(error, openai.APIStatusError):
        return _status_reason(error, model, where, key_name)
    if isinstance(error, (CutOffError, openai.APIConnectionError)) or "ReadError" in type(error).__name__:
        if isinstance(error, openai.APIConnectionError) and _never_connected(error):
            return f"The server at {where} cannot be reached: start it, or correct base_url."
        return f"The connection to {where} broke off during the answer: check the server's log."
    if isinstance(error, openai.APIError):
        return f"The server at {where} reported an error in its answer ({brief(error)}): check its log."
    if isinstance(error, (json.JSONDecodeError, AttributeError, TypeError, ValueError, KeyError)):
        return f"The server at {where} sent what is no chat completion: check that base_url ends in /v1."
    if type(error).__module__.startswith(("httpx", "httpcore")):
        return f"The connection to {where} broke off during the answer: check the server's log."
    said = f"{type(error).__name__}: {brief(error)}"
    return f"The server at {where} could not be used ({said}): check its log."


def _status_reason(error: object, model: str, where: str, key_name: str) -> str:
    status = getattr(error, "status_code", 0)
    said = brief(error)
    if status in (401, 403):
        return f"The server at {where} refused the key: set the environment variable {key_name}."
    if status == 404:
        return (
            f"The server at {where} does not know {model} or the address ({said}): check model and base_url."
        )
    if status == 429:
        return f"The server at {where} is busy (429: {said}): lower its load, or raise max_retries."
    if status >= 500:
        return f"The server at {where} failed ({status}: {said}): check its log."
    return (
        f"The server at {where} refused the request ({status}: {said}): lower max_frames or check the model."
    )


def _never_connected(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if "Connect" in type(cause).__name__ and "APIConnectionError" not in type(cause).__name__:
            return True
        cause = cause.__cause__ or cause.__context__
    return False
